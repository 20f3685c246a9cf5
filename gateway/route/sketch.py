"""Quantiles of a positive quantity, with old samples fading.

Buckets grow by 15 % from `LOWEST`, so a quantile is right to about 7 %. Instead of ageing every bucket, each new
sample weighs more than the last (forward decay); all weights are divided when they grow large. Two sketches on the
same clock merge by adding their buckets.
"""

from math import exp2, log

LOWEST = 0.001
_GROWTH = log(1.15)
_BUCKETS = 120  # 1 ms .. 19,000 s, or the same span of tokens per second
_RENORMALISE = 2.0**40


class Sketch:
    """A decayed histogram. `half_life` in seconds: after that long a sample counts half."""

    __slots__ = ("_base", "_half_life", "_total", "_weights")

    def __init__(self, half_life: float = 600.0) -> None:
        self._half_life = half_life
        self._base = 0.0
        self._total = 0.0
        self._weights = [0.0] * _BUCKETS

    def add(self, value: float, now: float) -> None:
        """Counts one sample. Values under `LOWEST` count as `LOWEST`."""
        weight = self._weight(now)
        self._weights[_bucket(value)] += weight
        self._total += weight

    def count(self, now: float) -> float:
        """How many samples there are, each faded by its age."""
        return self._total / self._weight(now) if self._total else 0.0

    def quantile(self, share: float) -> float:
        """The value that `share` of the samples do not exceed; 0 when there are none."""
        wanted = share * self._total
        seen = 0.0
        for index, weight in enumerate(self._weights):
            seen += weight
            if weight and seen >= wanted:
                return _middle(index)
        return 0.0

    def _weight(self, now: float) -> float:
        if not self._total:
            self._base = now
        weight = exp2((now - self._base) / self._half_life)
        if weight > _RENORMALISE:
            self._weights = [old / weight for old in self._weights]
            self._total /= weight
            self._base = now
            return 1.0
        return weight

    def __repr__(self) -> str:
        return f"<Sketch p50={self.quantile(0.5):.3g} p95={self.quantile(0.95):.3g}>"


def _bucket(value: float) -> int:
    if value <= LOWEST:
        return 0
    return min(_BUCKETS - 1, int(log(value / LOWEST) / _GROWTH) + 1)


def _middle(index: int) -> float:
    return LOWEST if index == 0 else LOWEST * 2.718281828459045 ** (_GROWTH * (index - 0.5))


class Rate:
    """A decayed count of good and bad: the share of good ones, starting from a prior."""

    __slots__ = ("_at", "_bad", "_good", "_half_life")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._good = self._bad = self._at = 0.0

    def add(self, good: bool, now: float, weight: float = 1.0) -> None:
        self._fade(now)
        if good:
            self._good += weight
        else:
            self._bad += weight

    def count(self, now: float) -> float:
        self._fade(now)
        return self._good + self._bad

    def share(self, now: float, prior: float, strength: float) -> float:
        """Share of good ones in [0, 1], as if `strength` samples with a share of `prior` had been seen first."""
        self._fade(now)
        return (self._good + prior * strength) / (self._good + self._bad + strength)

    def _fade(self, now: float) -> None:
        if now > self._at:
            keep = exp2((self._at - now) / self._half_life)
            self._good *= keep
            self._bad *= keep
            self._at = now

    def __repr__(self) -> str:
        return f"<Rate good={self._good:.1f} bad={self._bad:.1f}>"
