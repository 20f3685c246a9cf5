"""What prometheus-client does inside, as `gateway/telemetry/prometheus_internals.py` relies on it.

Where one of these fails after an update of the library, that file is to be changed, and nothing else.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Gauge, Histogram, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.telemetry.prometheus_internals import BatchHistogram, empty_metric, make_values_with, merged

CHANGED = f"prometheus-client {version('prometheus-client')} differs: see gateway/telemetry/prometheus_internals.py: "


class Noted:
    """A value, and the arguments that it was made with."""

    def __init__(self, *made: Any, **named: Any) -> None:
        self.made, self.named, self.value = made, named, 0.0

    def inc(self, amount: float) -> None:
        self.value += amount

    def set(self, value: float) -> None:
        self.value = value

    def get(self) -> float:
        return self.value


@contextmanager
def noting() -> Iterator[list[Noted]]:
    """The values that are made meanwhile."""
    before, found = values.ValueClass, []

    def make(*made: Any, **named: Any) -> Noted:
        found.append(Noted(*made, **named))
        return found[-1]

    make_values_with(make)
    try:
        yield found
    finally:
        values.ValueClass = before


def test_a_metric_makes_its_values_with_the_factory() -> None:
    with noting() as made:
        Counter("c_total", "Help.", ("a",), registry=None).labels("x").inc(2)
        Gauge("g", "Help.", registry=None, multiprocess_mode="livesum").set(3)
        Histogram("h", "Help.", buckets=(1.0,), registry=None).observe(0.5)
    assert [(one.made, one.named, one.value) for one in made] == [
        (("counter", "c", "c_total", ("a",), ("x",), "Help."), {}, 2.0),
        (("gauge", "g", "g", (), (), "Help."), {"multiprocess_mode": "livesum"}, 3.0),
        (("histogram", "h", "h_sum", (), (), "Help."), {}, 0.5),
        (("histogram", "h", "h_bucket", ("le",), ("1.0",), "Help."), {}, 1.0),
        (("histogram", "h", "h_bucket", ("le",), ("+Inf",), "Help."), {}, 0.0),
    ], f"{CHANGED}how metrics make their values"


@given(st.lists(st.floats(0.0, 10.0), max_size=20))
def test_a_batch_is_what_its_observations_are_one_by_one(observed: list[float]) -> None:
    with noting() as made:
        alone = Histogram("h", "Help.", buckets=(1.0, 2.0, 5.0), registry=None)
        batch = BatchHistogram("h", "Help.", buckets=(1.0, 2.0, 5.0), registry=None)
    for name in ("_upper_bounds", "_sum", "_buckets"):
        assert hasattr(alone, name), f"{CHANGED}Histogram.{name}"
    for value in observed:
        alone.observe(value)
    batch.observe_many(observed)
    half = len(made) // 2
    assert [one.value for one in made[half:]] == pytest.approx([one.value for one in made[:half]])


def test_values_of_several_processes_become_one() -> None:
    signature = list(inspect.signature(MultiProcessCollector._accumulate_metrics).parameters)
    assert signature == ["metrics", "accumulate"], f"{CHANGED}MultiProcessCollector._accumulate_metrics"
    counter, gauge = empty_metric("c", "Help.", "counter", ""), empty_metric("g", "Help.", "gauge", "livemax")
    histogram = empty_metric("h", "Help.", "histogram", "")
    for process, value in (("1", 2.0), ("2", 3.0)):
        counter.add_sample("c_total", (("a", "x"),), value)  # type: ignore[arg-type]
        gauge.add_sample("g", (("pid", process),), value)  # type: ignore[arg-type]
        for bound in ("1.0", "+Inf"):
            histogram.add_sample("h_bucket", (("le", bound),), value)  # type: ignore[arg-type]
    found = merged({"c": counter, "g": gauge, "h": histogram})
    assert {one.name: samples(one) for one in found} == {
        "c": [("c_total", {"a": "x"}, 5.0)],
        "g": [("g", {}, 3.0)],
        "h": [("h_bucket", {"le": "1.0"}, 5.0), ("h_bucket", {"le": "+Inf"}, 10.0), ("h_count", {}, 10.0)],
    }, f"{CHANGED}how values of several processes become one"


def samples(metric: Metric) -> list[tuple[str, dict[str, str], float]]:
    return [(one.name, one.labels, one.value) for one in metric.samples]
