import pytest

from gateway.sim.sim_host import FaultRates
from gateway.types import Price
from tests.sim.test_baselines import replayed
from tests.sim.world import host, row

SLOW, FAST = host("slow", ttft=3.0), host("fast", ttft=1.0)


def test_shuffle_spreads_evenly_whatever_the_price() -> None:
    hosts = [host("cheap", price=Price(0.1, 0.1)), host("dear", price=Price(3.0, 3.0))]
    shares = replayed("litellm-shuffle", [row(float(t)) for t in range(2_000)], hosts).tally.shares()
    assert shares["cheap"] == pytest.approx(0.5, abs=0.05)


def test_lowest_cost_adds_the_prices_of_input_and_output_whatever_the_request() -> None:
    """Prompts are long and answers short, so the request itself would be cheaper elsewhere."""
    hosts = [host("cheap in", price=Price(0.1, 0.9)), host("cheap out", price=Price(0.5, 0.1))]
    assert replayed("litellm-cost", [row(float(t)) for t in range(20)], hosts).tally.shares()["cheap out"] == 1.0


def test_least_busy_takes_the_first_configured_among_equals() -> None:
    hosts = [host("dear", price=Price(3.0, 3.0)), host("cheap", price=Price(0.1, 0.1))]
    assert replayed("litellm-least-busy", [row(60.0 * t) for t in range(10)], hosts).tally.shares()["dear"] == 1.0
    assert replayed("litellm-least-busy", [row(0.0)] * 10, hosts).tally.shares()["dear"] == 0.5


def test_lowest_latency_tries_newcomers_first_and_then_stays_with_the_fastest() -> None:
    shares = replayed("litellm-latency", [row(30.0 * t) for t in range(100)], [SLOW, FAST]).tally.shares()
    assert shares == {"slow": 0.01, "fast": 0.99}


def test_lowest_latency_forgets_all_an_hour_after_its_first_sample() -> None:
    shares = replayed("litellm-latency", [row(60.0 * t) for t in range(100)], [SLOW, FAST]).tally.shares()
    assert shares == {"slow": 0.02, "fast": 0.98}


def test_lowest_latency_learns_from_answers_when_they_end() -> None:
    """All of a burst are newcomers' requests: none of its answers has ended."""
    shares = replayed("litellm-latency", [row(0.01 * t) for t in range(1_000)], [SLOW, FAST]).tally.shares()
    assert 0.05 < shares["slow"] < 0.95


def test_lowest_latency_does_not_hold_errors_against_a_deployment() -> None:
    """What fails has no time and stays a newcomer: it is asked first, unless the gateway's breaker is open."""
    hosts = [host("broken", rates=FaultRates(0.0, 1.0, 0.0)), FAST]
    engine = replayed("litellm-latency", [row(1_000.0 * t) for t in range(20)], hosts)
    assert engine.tally.figures().success == 1.0
    assert engine.tally.figures().ttft_p50 == pytest.approx(1.05)  # the failure before it included


def test_lowest_latency_notes_a_timeout_only_until_there_is_a_time() -> None:
    silent = host("silent", ttft=1_000.0)
    engine = replayed("litellm-latency", [row(30.0 * t) for t in range(50)], [silent, FAST])
    assert sum(wait > 2 for wait in engine.tally._waits) <= 1
