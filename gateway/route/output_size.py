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
_MOST = 2 * MEMORY


class TokenRatio:
    """Tokens per unit of what was sent: a decayed mean over the units.

    Its prior is `usual`, or the ratio of `model` if there is one, which counts all that is counted here, too.
    """

    __slots__ = ("_model", "_tokens", "_units", "_usual")

    def __init__(self, usual: float, model: "TokenRatio | None") -> None:
        self._usual = usual
        self._model = model
        self._tokens = self._units = 0.0

    def add(self, tokens: float, units: float) -> None:
        ratio: TokenRatio | None = self
        while ratio is not None:
            ratio._tokens += tokens
            ratio._units += units
            if ratio._units > _MOST:
                ratio._forget()
            ratio = ratio._model

    def value(self) -> float:
        """The mean, as if `PRIOR_DELTAS` units of the prior had been seen first."""
        prior = self._usual if self._model is None else self._model.value()
        return (self._tokens + PRIOR_DELTAS * prior) / (self._units + PRIOR_DELTAS)

    def _forget(self) -> None:
        keep = MEMORY / self._units
        self._tokens *= keep
        self._units *= keep

    def __repr__(self) -> str:
        return f"<TokenRatio {self._tokens:.0f}/{self._units:.0f}>"


class OutputSize:
    """Of one endpoint of the model, or of all of them: then `model` is None."""

    __slots__ = ("_bytes", "_deltas")

    def __init__(self, model: "OutputSize | None" = None) -> None:
        self._deltas: TokenRatio = TokenRatio(USUAL_DELTA, None if model is None else model._deltas)
        self._bytes: TokenRatio = TokenRatio(USUAL_BYTES, None if model is None else model._bytes)

    def learn(self, tokens: int, deltas: int, size: int) -> None:
        """A host counted `tokens` in an answer of `deltas` deltas, or of `size` bytes if it was not streamed."""
        if deltas:
            self._deltas.add(tokens, deltas)
        elif size:
            self._bytes.add(tokens, size / BYTES)

    def tokens(self, deltas: int, size: int) -> int:
        """About how many tokens that much of an answer has."""
        return round(deltas * self._deltas.value() + size / BYTES * self._bytes.value())

    def __repr__(self) -> str:
        return f"<OutputSize {self._deltas.value():.2f} tokens per delta>"
