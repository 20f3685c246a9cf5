"""Sums and quantiles over samples, against values worked out by hand as PromQL defines them."""

from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.metrics import Metrics, prepare_folder
from gateway.telemetry.samples import Samples, quantile
from tests.support.rows import row

LATENCY = [(0.1, 2.0), (0.5, 6.0), (1.0, 8.0), (inf, 10.0)]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.1, 0.05),  # half-way through the first bucket, which begins at 0
        (0.2, 0.1),  # exactly at a bound
        (0.5, 0.1 + 0.4 * 3 / 4),
        (0.75, 0.5 + 0.5 * 1.5 / 2),
        (0.95, 1.0),  # beyond the last finite bound: that bound
    ],
)
def test_a_quantile_lies_evenly_within_its_bucket(share: float, expected: float) -> None:
    assert quantile(share, LATENCY) == pytest.approx(expected)


def test_empty_buckets_before_the_first_observation_are_passed_over() -> None:
    assert quantile(0.5, [(1.0, 0.0), (2.0, 4.0), (inf, 4.0)]) == 1.5


@pytest.mark.parametrize("buckets", [[], [(1.0, 0.0), (inf, 0.0)]])
def test_no_observation_has_no_quantile(buckets: list[tuple[float, float]]) -> None:
    assert quantile(0.5, buckets) is None


@given(st.lists(st.floats(0.001, 9.9), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    bounds = (0.1, 1.0, 2.0, 5.0, 10.0)
    buckets = [(bound, float(sum(value <= bound for value in values))) for bound in (*bounds, inf)]
    rank = share * len(values)
    true = next(value for place, value in enumerate(sorted(values), 1) if place >= rank)
    upper = next(bound for bound in bounds if true <= bound)
    lower = max((bound for bound in bounds if bound < upper), default=0.0)
    found = quantile(share, buckets)
    assert found is not None
    assert lower - 1e-9 <= found <= upper + 1e-9


def test_samples_of_real_metrics(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    metrics = Metrics(tmp_path)
    for endpoint, ttft in (("a", 0.3), ("a", 0.3), ("b", 2.0)):
        metrics.record(row(endpoint=endpoint, ttft=ttft))
    metrics.record(row(endpoint="b", outcome="cut", ttft=None))
    metrics.flush()
    samples = metrics.samples()
    apart = samples.split("endpoint")
    assert samples.total("gateway_attempts_total") == 4
    assert samples.total("gateway_attempts_total", endpoint="b", outcome="cut") == 1
    assert samples.by("gateway_attempts_total", "endpoint") == {"a": 2, "b": 2}
    assert apart["b"].by("gateway_attempts_total", "outcome") == {"ok": 1, "cut": 1}
    assert apart["a"].quantile(0.5, "gateway_attempt_ttft_seconds") == pytest.approx(0.25 + 0.25 / 2)
    assert samples.quantile(0.5, "gateway_attempt_ttft_seconds") == pytest.approx(0.25 + 0.25 * 1.5 / 2)


def test_nothing_is_zero_and_unknown() -> None:
    nothing = Samples({})
    assert nothing.total("gateway_requests_total") == 0
    assert nothing.by("gateway_requests_total", "outcome") == {}
    assert nothing.split("endpoint") == {}
    assert nothing.quantile(0.5, "gateway_attempt_ttft_seconds") is None
