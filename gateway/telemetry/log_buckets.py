"""Buckets on a logarithmic scale: counts of them are a sketch of a distribution, and counts of two sketches add up.

    lowest       x 1.1      x 1.1^2    x 1.1^3
      |  bucket 0  |  bucket 1  |  bucket 2  | ...

A quantile is found in the bucket of the true one and so differs from it by less than `GROWTH` - 1, 10 %; values are
taken as evenly spread within a bucket, so mostly by about 1 %. These are the buckets of DDSketch (Masson, Rim and Lee,
2019) within a fixed range; smaller values count in the first bucket, larger ones in the last.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import exp, log

GROWTH = 1.1


class LogBuckets:
    """`count` buckets from `lowest` on."""

    __slots__ = ("_edges", "count")

    def __init__(self, lowest: float, count: int) -> None:
        self.count = count
        self._edges = [lowest * GROWTH**number for number in range(count + 1)]

    def __repr__(self) -> str:
        return f"<LogBuckets {self._edges[0]:g} .. {self._edges[-1]:g}>"

    def index(self, value: float) -> int:
        """The bucket of a value."""
        return bisect_left(self._edges, value, 1, self.count) - 1

    def quantiles(self, shares: Sequence[float], counts: Sequence[int]) -> list[float | None]:
        """The values that these shares (0 to 1) of the counted samples do not exceed; None without a sample."""
        seen = list(accumulate(counts))
        total = seen[-1]
        return [self._quantile(share * total, seen, counts) if total else None for share in shares]

    def _quantile(self, rank: float, seen: Sequence[int], counts: Sequence[int]) -> float:
        bucket = bisect_left(seen, max(rank, 1))
        below = seen[bucket] - counts[bucket]
        place = (max(rank, 1) - below - 0.5) / counts[bucket]  # the middle of each sample's share of the bucket
        return self._edges[bucket] * exp(log(GROWTH) * min(max(place, 0.0), 1.0))
