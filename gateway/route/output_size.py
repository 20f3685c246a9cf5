"""How many tokens are in what a host sent of an answer that it did not count.

    answers with a count ──learn──> tokens per delta of streams, per byte of whole answers ──tokens──> broken answers

Hosts that write several tokens at once (speculative decoding, batches) send them as one delta. So the figure is an
endpoint's own; its prior is that of all endpoints of the model, whose prior is one token per delta, four bytes a token.
"""

MEMORY = 50_000.0  # deltas; twice as many are halved, so that a host that changes is followed
PRIOR_DELTAS = 20.0  # that the prior counts for
BYTES = 100.0  # of a whole answer, that count as one delta
USUAL_DELTA = 1.0  # tokens
USUAL_BYTES = BYTES / 4  # tokens in that many


class TokenRatio:
    """Tokens per unit of what was sent: a decayed mean over the units."""

    __slots__ = ("_tokens", "_units")

    def __init__(self) -> None:
        self._tokens = self._units = 0.0

    def add(self, tokens: float, units: float) -> None:
        self._tokens += tokens
        self._units += units
        if self._units > 2 * MEMORY:
            keep = MEMORY / self._units
            self._tokens *= keep
            self._units *= keep

    def value(self, prior: float) -> float:
        """The mean, as if `PRIOR_DELTAS` units of `prior` tokens had been seen first."""
        return (self._tokens + PRIOR_DELTAS * prior) / (self._units + PRIOR_DELTAS)

    def __repr__(self) -> str:
        return f"<TokenRatio {self._tokens:.0f}/{self._units:.0f}>"


class OutputSize:
    """Of one endpoint, or of all of a model: then `model` is None."""

    __slots__ = ("_bytes", "_deltas", "_model")

    def __init__(self, model: "OutputSize | None" = None) -> None:
        self._deltas = TokenRatio()
        self._bytes = TokenRatio()
        self._model = model

    def learn(self, tokens: int, deltas: int, size: int) -> None:
        """A host counted `tokens` in an answer of `deltas` deltas, or of `size` bytes if it was not streamed."""
        if deltas:
            self._deltas.add(tokens, deltas)
        elif size:
            self._bytes.add(tokens, size / BYTES)
        if self._model is not None:
            self._model.learn(tokens, deltas, size)

    def tokens(self, deltas: int, size: int) -> int:
        """About how many tokens that much of an answer has."""
        return round(deltas * self._per_delta() + size / BYTES * self._per_bytes())

    def _per_delta(self) -> float:
        return self._deltas.value(USUAL_DELTA if self._model is None else self._model._per_delta())

    def _per_bytes(self) -> float:
        return self._bytes.value(USUAL_BYTES if self._model is None else self._model._per_bytes())

    def __repr__(self) -> str:
        return f"<OutputSize {self._per_delta():.2f} tokens per delta>"
