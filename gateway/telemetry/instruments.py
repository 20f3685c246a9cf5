"""What the metrics are made of: a histogram that takes a batch, and batches by what they have in common."""

from bisect import bisect_left
from collections import Counter as Multiset
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from prometheus_client import Histogram

from gateway.types import Row

Key = TypeVar("Key")


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once. Relies on internals of the pinned minor version."""

    def observe_many(self, values: list[float]) -> None:
        bounds = self._upper_bounds
        self._sum.inc(sum(values))
        for index, count in Multiset([bisect_left(bounds, value) for value in values]).items():
            self._buckets[index].inc(count)


def observe(histogram: BatchHistogram, labels: tuple[str, ...], values: list[float]) -> None:
    """Observes what there is; a series without any observation is not shown."""
    if values:
        histogram.labels(*labels).observe_many(values)


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups
