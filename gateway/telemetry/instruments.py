"""Rows in batches, by what they have in common, and what a batch observes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from gateway.telemetry.prometheus_internals import BatchHistogram
from gateway.types import Row

Key = TypeVar("Key")


def observe(histogram: BatchHistogram, labels: tuple[str, ...], values: list[float]) -> None:
    """Observes what there is; a series without any observation is not shown."""
    if values:
        histogram.labels(*labels).observe_many(values)


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups
