"""How long answers usually are, apart for each kind of request: thinking or not, with tools or not.

The same for every endpoint, because the model is, and for every worker: each publishes its own samples (`own`) and
counts those of the others with them (`merge`). Tokens.
"""

from collections.abc import Mapping, Sequence

from gateway.route.endpoint_state import ENOUGH, FADED_WITHIN, LEARNED_WITHIN
from gateway.route.posted import Posted
from gateway.route.sketch import Sketch

DEFAULT_MEAN = 350.0
DEFAULT_LONGEST = 5_600.0
PRIOR_SAMPLES = 4.0  # answers that the default mean counts for
HALF_LIFE = 600.0  # seconds: what is asked of a gateway changes with the hour


class Lengths:
    """Answers of one kind: their mean length, and the one that 99 of 100 stay under."""

    __slots__ = ("_due", "_longest", "_mean", "_sketch")

    def __init__(self) -> None:
        self._sketch = Sketch(HALF_LIFE)
        self._due = 0.0
        self._mean = DEFAULT_MEAN
        self._longest = DEFAULT_LONGEST

    def add(self, tokens: int, now: float) -> None:
        """Learns from one answer."""
        self._sketch.add(tokens, now)
        self._due = min(self._due, now + LEARNED_WITHIN)

    def expected(self, max_tokens: int | None, now: float) -> tuple[float, float]:
        """(mean, longest) length of such answers, at most what the client allows."""
        if now >= self._due:
            self._refresh(now)
        if max_tokens is None:
            return self._mean, self._longest
        return min(self._mean, max_tokens), min(self._longest, max_tokens)

    def own(self, now: float) -> dict[int, int]:
        """This worker's samples, for others: what `Sketch.own` is."""
        return self._sketch.own(now)

    def merge(self, others: Sequence[Posted[Mapping[int, int]]], now: float) -> None:
        """Takes each other worker's samples, in place of what was known of them."""
        self._sketch.hear([(one.value, one.age) for one in others], now)
        self._due = min(self._due, now + LEARNED_WITHIN)

    def _refresh(self, now: float) -> None:
        self._due = now + FADED_WITHIN
        count = self._sketch.count(now)
        self._mean = (self._sketch.mean() * count + DEFAULT_MEAN * PRIOR_SAMPLES) / (count + PRIOR_SAMPLES)
        (longest,) = self._sketch.quantiles((0.99,))
        self._longest = longest if count >= ENOUGH else max(longest, DEFAULT_LONGEST)

    def __repr__(self) -> str:
        return f"<Lengths mean={self._mean:.0f} longest={self._longest:.0f}>"
