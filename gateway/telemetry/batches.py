"""Grouping of rows, and observation of a batch."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from gateway.telemetry.prometheus_internals import BatchHistogram
from gateway.types import Row

Key = TypeVar("Key")


def observe(histogram: BatchHistogram, labels: tuple[str, ...], values: list[float]) -> None:
    """Observes `values`, if any; a series without observations is not created."""
    if values:
        histogram.labels(*labels).observe_many(values)


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups
