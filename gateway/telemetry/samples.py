"""The samples of all workers at one moment, with Prometheus' sums and quantiles."""

from collections.abc import Iterable, Sequence
from math import isinf
from typing import TypeAlias

from prometheus_client import Metric

Series: TypeAlias = tuple[dict[str, str], float]  # labels, value
Bucket: TypeAlias = tuple[float, float]  # upper bound, cumulative count


class Samples:
    """Read-only. Names are those of the exposition: `gateway_attempts_total`, `..._seconds_bucket`."""

    __slots__ = ("_series",)

    def __init__(self, series: dict[str, list[Series]]) -> None:
        self._series = series

    @classmethod
    def of(cls, metrics: Iterable[Metric]) -> "Samples":
        series: dict[str, list[Series]] = {}
        for metric in metrics:
            for sample in metric.samples:
                series.setdefault(sample.name, []).append((sample.labels, sample.value))
        return cls(series)

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels; 0 when there is none."""
        found = self._series.get(name, ())
        return sum(value for own, value in found if labels.items() <= own.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """`sum by (label) (name)`."""
        sums: dict[str, float] = {}
        for labels, value in self._series.get(name, ()):
            sums[labels[label]] = sums.get(labels[label], 0.0) + value
        return sums

    def split(self, label: str) -> dict[str, "Samples"]:
        """The series that have `label`, grouped by its values."""
        parts: dict[str, dict[str, list[Series]]] = {}
        for name, series in self._series.items():
            for labels, value in series:
                if label in labels:
                    parts.setdefault(labels[label], {}).setdefault(name, []).append((labels, value))
        return {value: Samples(series) for value, series in parts.items()}

    def quantile(self, share: float, histogram: str) -> float | None:
        """`histogram_quantile(share, sum by (le) (histogram_bucket))`; None before the first observation."""
        counts = self.by(f"{histogram}_bucket", "le")
        return quantile(share, sorted((float(bound), count) for bound, count in counts.items()))


def quantile(share: float, buckets: Sequence[Bucket]) -> float | None:
    """The `share` quantile of the observations, as PromQL's histogram_quantile estimates it.

    Observations are assumed to be spread evenly within their bucket. Beyond the last finite bound nothing is known, so
    the result is that bound. `buckets` are cumulative, in ascending order, the last with an infinite bound; bounds are
    positive.
    """
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    rank = share * total
    lower = below = 0.0
    for upper, up_to in buckets:
        if up_to >= rank and up_to > below:
            break
        lower, below = upper, up_to
    return lower if isinf(upper) else lower + (upper - lower) * (rank - below) / (up_to - below)
