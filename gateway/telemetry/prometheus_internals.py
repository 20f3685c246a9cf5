"""The private names of prometheus-client that this gateway uses, all in this module.

    values.ValueClass           creates the value of each new metric, and of each child that `labels` creates:
                                (kind, family, name, labels, own, text, multiprocess_mode=) -> inc, set and get
    Histogram._upper_bounds, _sum, _buckets
                                bounds in ascending order, the last infinite; bucket values are not cumulative
    Metric._multiprocess_mode   how the values of several processes are merged: "livesum", ...
    MultiProcessCollector._accumulate_metrics(metrics, accumulate)
                                merges them; with `accumulate`, buckets become cumulative and get a `_count`

`tests/telemetry/test_prometheus_internals.py` fails when a new version of the library changes one of them.
"""

from bisect import bisect_left
from collections import Counter as Multiset
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import Histogram, Metric
from prometheus_client import values as library
from prometheus_client.multiprocess import MultiProcessCollector


class MetricValue(Protocol):
    """One number of a metric."""

    def inc(self, amount: float) -> None: ...

    def set(self, value: float) -> None: ...

    def get(self) -> float: ...


class ValueFactory(Protocol):
    """Creates a value. `own` are the values of `labels`, `text` is the help text of the family."""

    def __call__(
        self,
        kind: str,
        family: str,
        name: str,
        labels: Iterable[str],
        own: Iterable[str],
        text: str,
        multiprocess_mode: str = "",
    ) -> MetricValue: ...


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def observe_many(self, values: list[float]) -> None:
        bounds = self._upper_bounds
        self._sum.inc(sum(values))
        for index, count in Multiset([bisect_left(bounds, value) for value in values]).items():
            self._buckets[index].inc(count)


def make_values_with(factory: ValueFactory) -> None:
    """Metrics created from now on take their values from `factory`."""
    library.ValueClass = factory


def empty_metric(family: str, text: str, kind: str, mode: str) -> Metric:
    """A family without samples. `mode` is a gauge's `multiprocess_mode`, else empty."""
    metric = Metric(family, text, kind)
    metric._multiprocess_mode = mode  # type: ignore[attr-defined]
    return metric


def merged(metrics: dict[str, Metric]) -> Iterable[Metric]:
    """The families, with the samples of several processes (gauges have a label `pid`) merged into one."""
    found: Iterable[Metric] = MultiProcessCollector._accumulate_metrics(metrics, True)  # type: ignore[no-untyped-call]
    return found
