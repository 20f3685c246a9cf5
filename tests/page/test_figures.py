"""Figures from rows whose answer is known, through the metrics."""

from pathlib import Path

import pytest

from gateway.page.figures import Served, Totals, served, totals
from gateway.telemetry.metrics import Metrics, prepare_folder
from gateway.telemetry.samples import Samples
from gateway.types import Price
from tests.support.rows import cached_row, row

PRICE = Price(input=0.25, cached_input=0.05, output=0.5)


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Two good answers and two failures of one endpoint, one good answer of another, a hit, one that found nobody."""
    prepare_folder(tmp_path)
    metrics = Metrics(tmp_path)
    metrics.record(row(cost=300_000_000, cache="miss"))
    metrics.record(row(cost=100_000_000))
    metrics.record(row(outcome="server", ttft=None, client_ttft=None, last=False, **NOTHING_USED))
    metrics.record(row(endpoint="other", attempt=2, ttft=2.0, cached_tokens=0))
    metrics.record(row(outcome="cancelled", ttft=None, client_ttft=None, **NOTHING_USED))
    metrics.record(cached_row(prompt_tokens=0, cached_tokens=0, completion_tokens=0, reasoning_tokens=0))
    metrics.record(row(endpoint="", attempt=0, outcome="unrouted", ttft=None, client_ttft=None, **NOTHING_USED))
    metrics.in_flight(3)
    metrics.flush()
    return metrics.samples()


NOTHING_USED = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "reasoning_tokens": 0, "cost": 0}


def test_totals(samples: Samples) -> None:
    found = totals(samples)
    assert found == Totals(
        requests=6,
        in_flight=3,
        success=pytest.approx(4 / 5),  # ok, ok, ok, cached; unrouted; the cancelled one counts neither way
        ttft_p50=pytest.approx(0.5 + 0.25 / 2),
        ttft_p95=pytest.approx(0.5 + 0.25 * 0.95),
        prompt_tokens=3000,
        cached_tokens=800,
        completion_tokens=303,
        cost_usd=pytest.approx(0.00065),
        usd_per_million=pytest.approx(1e6 * 0.00065 / 3303),
        cache_hits=1,
        cache_asked=2,
    )


def test_an_endpoint(samples: Samples) -> None:
    found = served(samples.split("endpoint")["novita/fp8"], PRICE, all_attempts=5)
    assert found == Served(
        attempts=4,
        share=pytest.approx(4 / 5),
        success=pytest.approx(2 / 3),
        ttft_p50=pytest.approx(0.375),
        ttft_p95=pytest.approx(0.25 + 0.25 * 0.95),
        throughput_p50=pytest.approx(70.0),
        cache_hit=pytest.approx(0.4),
        effective_input=pytest.approx(0.25 * 0.6 + 0.05 * 0.4),
        cost_usd=pytest.approx(0.0004),
    )


def test_without_a_cache_discount_input_costs_its_list_price(samples: Samples) -> None:
    found = served(samples.split("endpoint")["novita/fp8"], Price(input=0.25, output=0.5), all_attempts=5)
    assert found.effective_input == pytest.approx(0.25)


def test_nothing_happened_yet() -> None:
    nothing = Samples({})
    assert served(nothing, PRICE, 0) == Served(0, None, None, None, None, None, None, None, 0.0)
    assert totals(nothing) == Totals(0, 0, None, None, None, 0, 0, 0, 0.0, None, 0, 0)
