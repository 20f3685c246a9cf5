from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.route.toll import SLACK_TOKENS
from gateway.sim.baselines import RULES, Baseline
from gateway.sim.behaviour import Behaviour
from gateway.sim.engine import Engine, requests
from gateway.sim.fleetfile import endpoint, read_fleet
from gateway.sim.sim_host import FaultRates, SimHost
from gateway.sim.workload import TraceRow, read_trace, spread
from gateway.types import Price
from tests.sim.world import CALM, host, row


def replayed(name: str, rows: Sequence[TraceRow], hosts: Sequence[SimHost], cap: float = 1.0) -> Engine:
    """The engine after a baseline's replay."""
    behaviour = Behaviour(hosts, 0, rows[-1].t, 1.0)
    baseline = Baseline(name, [endpoint(one) for one in hosts], 0, behaviour, cap, rows)
    engine = Engine(rows, requests(rows, "m"), baseline, behaviour)
    engine.run()
    return engine


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
    hosts = [host("a", price=Price(0.1, 0.1), rates=FaultRates(0.0, 1.0, 0.0)), host("b")]
    figures = replayed(name, [row(float(t), 1, 2) for t in range(20)], hosts).tally.figures()
    assert figures.success == 1.0


def test_stickiness_pays_on_real_traffic() -> None:
    """The order that published comparisons of these rules have, on the fleet whose prices are real."""
    rows = spread(read_trace(), 0)
    hosts = [replace(one, rates=CALM, incidents=None) for one in read_fleet("real")]
    names = ("litellm-shuffle", "1/price^2", "sticky", "sticky-cost")
    paid = [replayed(name, rows, hosts, cap=0.3).tally.figures().blended_price for name in names]
    assert paid == sorted(paid, reverse=True)  # type: ignore[type-var]


def test_openrouters_new_rule_is_the_stronger_opponent() -> None:
    rows = spread(read_trace(), 0)
    hosts = [replace(one, rates=CALM, incidents=None) for one in read_fleet("real")]
    new, old = (replayed(name, rows, hosts).tally.figures() for name in ("openrouter", "openrouter-2025"))
    assert new.blended_price < 0.9 * old.blended_price  # type: ignore[operator]
    assert new.ttft_p50 < old.ttft_p50  # type: ignore[operator]
