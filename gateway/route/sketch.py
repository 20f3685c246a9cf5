"""Quantiles and shares, with old samples fading.

Buckets grow by 15 % from `LOWEST`, so a quantile is right to about 7 %. Instead of ageing every bucket, each sample
weighs more than the one before (forward decay); all weights are divided when they have grown large. Times are
seconds on one clock that never goes back.

Each holds its own samples and, apart from them, those of other workers: figures count both, but only its own are
shared, so that none is counted twice. The others' are replaced as a whole by each `merge`.

The buckets are those of DDSketch (Masson, Rim and Lee, 2019): a relative error that is the same for every quantile.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, compress
from math import exp, exp2, inf, log
from operator import add, mul

LOWEST = 0.001
_GROWTH = log(1.15)
BUCKETS = 140  # 1 ms .. 3 days, or up to 250,000 tokens
_EDGES = [LOWEST * exp(_GROWTH * index) for index in range(BUCKETS - 1)]  # each bucket's highest, except the last's
_MIDDLES = [LOWEST, *(LOWEST * exp(_GROWTH * (index - 0.5)) for index in range(1, BUCKETS))]
_INVERSES = [1 / middle for middle in _MIDDLES]
_LOGS = [log(middle) for middle in _MIDDLES]
_SQUARES = [one * one for one in _LOGS]
_MOST_HALVINGS = 40.0  # of a sample's weight, before all weights are divided


class Sketch:
    """A decayed histogram of a positive quantity. `half_life` in seconds: after that long a sample counts half."""

    __slots__ = ("_base", "_found", "_half_life", "_means", "_others", "_shares", "_total", "_weights")

    def __init__(self, half_life: float = 600.0) -> None:
        self._half_life = half_life
        self._base = 0.0  # when a sample weighs 1
        self._total = 0.0  # of all weights, the others' included
        self._weights = [0.0] * BUCKETS
        self._others: list[float] = []  # their weights; empty when there are none
        self._shares: Sequence[float] = ()  # what `_found` are the quantiles of, until the next sample
        self._found: list[float] = []
        self._means: tuple[float, float, float, float] | None = None  # computed when read

    def add(self, value: float, now: float) -> None:
        """Counts one sample. Values under `LOWEST` count as `LOWEST`."""
        halvings = (now - self._base) / self._half_life
        weight = exp2(halvings) if halvings < _MOST_HALVINGS else self._weight(now)  # which replaces the weights
        self._weights[bisect_left(_EDGES, value)] += weight
        self._total += weight
        self._shares = ()  # as `_changed` does; here it is for every answer
        self._means = None

    def count(self, now: float) -> float:
        """How many samples there are, each faded by its age."""
        weight = self._weight(now)  # first, as above
        return self._total / weight

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The values that these shares (over 0, at most 1) of the samples do not exceed; zeros when there are none."""
        if not self._total:
            return [0.0] * len(shares)
        if shares != self._shares:
            seen = list(accumulate(self._all()))
            self._found = [_MIDDLES[bisect_left(seen, share * seen[-1])] for share in shares]
            self._shares = tuple(shares)
        return self._found

    def mean(self) -> float:
        """The mean of the samples; 0 when there are none."""
        return self._all_means()[0]

    def mean_inverse(self) -> float:
        """The mean of 1/sample, as in seconds per token of tokens per second; 0 when there are none."""
        return self._all_means()[1]

    def log_moments(self) -> tuple[float, float]:
        """(mean, variance) of the samples' natural logarithms; zeros when there are none."""
        _, _, mean, square = self._all_means()
        return mean, max(0.0, square - mean * mean)

    def beyond(self, value: float, now: float) -> tuple[float, float]:
        """(mean, count) of the samples in larger buckets."""
        first = bisect_left(_EDGES, value) + 1
        weights = list(self._all())[first:]
        total = sum(weights)
        return (sum(map(mul, weights, _MIDDLES[first:])) / total, total / self._weight(now)) if total else (0.0, 0.0)

    def own(self, now: float) -> dict[int, int]:
        """Its own samples, faded by their age: hundredths of a sample by bucket."""
        unit = self._weight(now) / 100  # first, as above
        counts = ((bucket, round(weight / unit)) for bucket, weight in enumerate(self._weights) if weight)
        return {bucket: count for bucket, count in counts if count}

    def merge(self, others: Iterable[tuple[Mapping[int, int], float]], now: float) -> None:
        """Replaces the other workers' samples: what `own` of each was, and how many seconds ago."""
        unit = self._weight(now) / 100  # first, as above
        theirs = [0.0] * BUCKETS
        for counts, age in others:
            faded = unit * exp2(-age / self._half_life)
            for bucket, count in counts.items():
                theirs[bucket] += count * faded
        self._others = theirs if any(theirs) else []
        self._total = sum(self._all())
        self._changed()

    def _all_means(self) -> tuple[float, float, float, float]:
        """Of the samples, their inverses, their logarithms and the squares of these."""
        if self._means is None:
            every = list(self._all())
            weights = list(compress(every, every))  # mostly few buckets hold anything
            total = self._total or 1.0
            self._means = (
                sum(map(mul, weights, compress(_MIDDLES, every))) / total,
                sum(map(mul, weights, compress(_INVERSES, every))) / total,
                sum(map(mul, weights, compress(_LOGS, every))) / total,
                sum(map(mul, weights, compress(_SQUARES, every))) / total,
            )
        return self._means

    def _changed(self) -> None:
        self._shares = ()
        self._means = None

    def _all(self) -> Iterable[float]:
        return map(add, self._weights, self._others) if self._others else self._weights

    def _weight(self, now: float) -> float:
        """What a sample of this moment weighs."""
        halvings = (now - self._base) / self._half_life
        if halvings < _MOST_HALVINGS:
            return exp2(halvings)
        keep = exp2(-halvings)  # 0 after a very long silence
        self._weights = [weight * keep for weight in self._weights]
        self._others = [weight * keep for weight in self._others]
        self._total = sum(self._all())
        self._base = now
        self._changed()
        return 1.0

    def __repr__(self) -> str:
        median, slow = self.quantiles((0.5, 0.95))
        return f"<Sketch p50={median:.3g} p95={slow:.3g}>"


class Rate:
    """A decayed mean that starts from a prior: of a share (good 1, bad 0), or of any other figure.

    `half_life` in seconds; `most` bounds the evidence: older samples fade faster where more come than that,
    so that a busy endpoint is judged by its last `most` samples and not by its last minutes.
    """

    __slots__ = ("_at", "_count", "_half_life", "_most", "_others_count", "_others_sum", "_sum")

    def __init__(self, half_life: float, most: float = inf) -> None:
        self._half_life = half_life
        self._most = most
        self._sum = self._count = self._at = 0.0
        self._others_sum = self._others_count = 0.0

    def add(self, value: float, now: float) -> None:
        """Counts one sample: for a share good (1, True), bad (0, False) or good in part."""
        total, count, at = self._sum, self._count, self._at
        if now > at and not self._others_count:  # as `_fade` does; here it is for every answer, several times
            keep = exp2((at - now) / self._half_life)
            total *= keep
            count *= keep
            self._at = now
        elif now > at:
            self._fade(now)
            total, count = self._sum, self._count
        if count > self._most - 1:
            keep = (self._most - 1) / count
            total *= keep
            count *= keep
        self._sum = total + value
        self._count = count + 1

    def add_all(self, total: float, count: float, now: float) -> None:
        """Counts `count` samples of about this moment, whose sum is `total`."""
        self._fade(now)
        if count > self._most:
            total, count = total * self._most / count, self._most
        if self._count > self._most - count:
            self.shrink((self._most - count) / self._count)
        self._sum += total
        self._count += count

    def shrink(self, keep: float) -> None:
        """Keeps this share of what its own samples weigh."""
        self._sum *= keep
        self._count *= keep

    def count(self, now: float) -> float:
        """How many there are, each faded by its age."""
        if now > self._at and (self._count or self._others_count):
            self._fade(now)
        return self._count + self._others_count

    def sum(self, now: float) -> float:
        """Their sum, each faded by its age."""
        self._fade(now)
        return self._sum + self._others_sum

    def share(self, now: float, prior: float, strength: float) -> float:
        """The mean, as if `strength` samples of `prior` had been seen first."""
        if not (self._count or self._others_count):
            return prior
        return (self.sum(now) + prior * strength) / (self._count + self._others_count + strength)

    def own(self, now: float) -> tuple[int, int]:
        """Its own samples' sum and count, each faded by its age, in hundredths."""
        self._fade(now)
        return round(100 * self._sum), round(100 * self._count)

    def merge(self, others: Iterable[tuple[tuple[int, int], float]], now: float) -> None:
        """Replaces the other workers' samples: what `own` of each was, and how many seconds ago."""
        self._fade(now)
        self._others_sum = self._others_count = 0.0
        for (total, count), age in others:
            faded = exp2(-age / self._half_life) / 100
            self._others_sum += total * faded
            self._others_count += count * faded

    def _fade(self, now: float) -> None:
        if now > self._at:
            keep = exp2((self._at - now) / self._half_life)
            self._sum *= keep
            self._count *= keep
            if self._others_count:
                self._others_sum *= keep
                self._others_count *= keep
            self._at = now

    def __repr__(self) -> str:
        return f"<Rate sum={self._sum:.1f} count={self._count:.1f}>"
