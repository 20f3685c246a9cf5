from dataclasses import replace

import pytest

from gateway.route.toll import SLACK_TOKENS
from gateway.sim.baselines import RULES, Baseline
from gateway.sim.behaviour import Behaviour
from gateway.sim.engine import Engine, requests
from gateway.sim.fleet import Rates, SimHost
from gateway.sim.fleetfile import endpoint, read_fleet
from gateway.sim.workload import TraceRow, read_trace, spread
from gateway.types import Price
from tests.sim.world import CALM, host, row

CHEAP = host("cheap", price=Price(0.1, 0.1))
DEAR = host("dear", price=Price(0.3, 0.6, 0.01))


def replayed(name: str, rows: list[TraceRow], hosts: list[SimHost], cap: float = 1.0) -> Engine:
    behaviour = Behaviour(hosts, 0, rows[-1].t, 1.0)
    baseline = Baseline(name, [endpoint(one) for one in hosts], 0, behaviour, cap)
    engine = Engine(rows, requests(rows, "m"), baseline, behaviour)
    engine.run()
    return engine


@pytest.mark.parametrize("name", ["cheapest", "litellm-cost"])
def test_the_cheapest_takes_all(name: str) -> None:
    assert replayed(name, [row(float(t)) for t in range(20)], [CHEAP, DEAR]).tally.shares()["cheap"] == 1.0


def test_random_spreads_evenly_and_the_square_of_the_price_does_not() -> None:
    rows = [row(float(t)) for t in range(2_000)]
    assert replayed("random", rows, [CHEAP, DEAR]).tally.shares()["cheap"] == pytest.approx(0.5, abs=0.05)
    dollars = [0.1 * 3_600, 0.3 * 3_500 + 0.6 * 100]
    weights = [one**-2 for one in dollars]
    share = weights[0] / sum(weights)
    assert replayed("1/price^2", rows, [CHEAP, DEAR]).tally.shares()["cheap"] == pytest.approx(share, abs=0.05)


def test_a_conversation_stays_for_ten_idle_minutes_once_it_was_cached() -> None:
    """The dear host alone has a discount; the first two requests are drawn, the others follow the second."""
    calm = [replace(CHEAP, price=Price(0.3, 0.6)), DEAR]
    rows = [row(100.0 * t, 1, 2) for t in range(60)]
    engine = replayed("openrouter", rows, calm)
    stays, since = engine.router.conversations[1, 2]  # type: ignore[attr-defined]
    assert stays == "dear"
    assert since == pytest.approx(5_900, abs=10)
    assert engine.tally.figures().cache_hit > 0.25
    idle = replayed(
        "openrouter", [row(1_000.0 * t, 1, 2) for t in range(60)], [replace(one, cache_ttl=1e4) for one in calm]
    )
    assert idle.tally.shares()["dear"] < 0.8


def test_sticky_goes_where_most_is_cached_even_when_it_is_dear() -> None:
    engine = replayed("sticky", [row(float(t), 1, 2, 3) for t in range(50)], [CHEAP, DEAR])
    assert max(engine.tally.shares().values()) == 1.0
    assert replayed("sticky", [row(0.0, 1), row(10.0, 1)], [CHEAP, DEAR]).tally.completed == 2  # too short to stick to


def test_cost_aware_stickiness_counts_the_re_reads_that_are_usual() -> None:
    fresh = [row(10.0 * t, 10 * t, 10 * t + 1) for t in range(50)]
    assert replayed("sticky-cost", fresh, [CHEAP, DEAR]).tally.shares()["cheap"] == 1.0
    repeated = [row(10.0 * t, 1, 2, 3, 4, 5, 6) for t in range(50)]
    assert (
        replayed("sticky-cost", repeated, [CHEAP, DEAR]).tally.shares()["dear"] > 0.8
    )  # they cost next to nothing there


def test_lowest_latency_tries_newcomers_first_and_then_stays_with_the_fastest() -> None:
    hosts = [host("slow", ttft=3.0), host("fast", ttft=1.0)]
    shares = replayed("litellm-latency", [row(60.0 * t) for t in range(100)], hosts).tally.shares()
    assert shares == {"slow": 0.01, "fast": 0.99}


@pytest.mark.parametrize("name", RULES)
def test_a_cap_holds_but_for_its_slack_and_a_request(name: str) -> None:
    hosts = [host("a", price=Price(0.1, 0.1, 0.01)), *(host(one) for one in "bcd")]
    rows = [row(float(t), 1, 2, 3, tokens=60_000) for t in range(200)]
    engine = replayed(name, rows, hosts, cap=0.3)
    total = sum(one.input_tokens + one.output_tokens for one in rows)
    most = 0.3 + (SLACK_TOKENS + 60_100) / total
    assert max(engine.tally.shares().values()) <= most


@pytest.mark.parametrize("name", RULES)
def test_every_rule_fails_over(name: str) -> None:
    hosts = [host("a", price=Price(0.1, 0.1), rates=Rates(0.0, 1.0, 0.0)), host("b")]
    figures = replayed(name, [row(float(t), 1, 2) for t in range(20)], hosts).tally.figures()
    assert figures.success == 1.0


def test_stickiness_pays_on_real_traffic() -> None:
    """The order that published comparisons of these rules have, on the fleet whose prices are real."""
    rows = spread(read_trace(), 0)
    hosts = [replace(one, rates=CALM, incidents=None) for one in read_fleet("real")]
    names = ("random", "1/price^2", "sticky", "sticky-cost")
    paid = [replayed(name, rows, hosts, cap=0.3).tally.figures().blended_price for name in names]
    assert paid == sorted(paid, reverse=True)  # type: ignore[type-var]
