"""Counters and histograms that are added to in memory and written once a batch.

In multiprocess mode every `inc` of prometheus-client takes a lock, asks for the pid and writes to a mapped file (2 us),
and an `observe` does so twice (4 us): some 50 us for one exchange. Added up first, a batch costs that once per series.

    rows -> Tally.add(labels, amount)      -> write() -> Counter       -> mapped file of this process
         -> Distribution.add(labels, value) -> write() -> BatchHistogram
"""

from bisect import bisect_left
from collections import Counter as Multiset
from collections import defaultdict

from prometheus_client import CollectorRegistry, Counter, Histogram


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once. Relies on internals of the pinned minor version."""

    def observe_many(self, values: list[float]) -> None:
        bounds = self._upper_bounds
        self._sum.inc(sum(values))
        for index, count in Multiset(bisect_left(bounds, value) for value in values).items():
            self._buckets[index].inc(count)


class Tally:
    """A counter. `add` is cheap; `write` makes it visible."""

    def __init__(self, registry: CollectorRegistry, name: str, help_text: str, *labels: str) -> None:
        self._counter = Counter(name, help_text, labels, registry=registry)
        self._pending: defaultdict[tuple[str, ...], float] = defaultdict(float)

    def prepare(self, *labels: str) -> None:
        """Show the series at 0, so that its first event is already a rise."""
        self._counter.labels(*labels)

    def add(self, labels: tuple[str, ...], amount: float = 1.0) -> None:
        self._pending[labels] += amount

    def write(self) -> None:
        for labels, amount in self._pending.items():
            self._counter.labels(*labels).inc(amount)
        self._pending.clear()


class Distribution:
    """A histogram. `add` is cheap; `write` makes it visible."""

    def __init__(
        self, registry: CollectorRegistry, name: str, help_text: str, buckets: tuple[float, ...], *labels: str
    ) -> None:
        self._histogram = BatchHistogram(name, help_text, labels, buckets=buckets, registry=registry)
        self._pending: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)

    def add(self, labels: tuple[str, ...], value: float) -> None:
        self._pending[labels].append(value)

    def write(self) -> None:
        for labels, values in self._pending.items():
            child = self._histogram.labels(*labels) if labels else self._histogram
            child.observe_many(values)
        self._pending.clear()
