"""An endpoint of which nothing is known is taken for a usual one."""

from statistics import median

import pytest

from gateway.route.fleet import Fleet
from gateway.route.peers import FleetMedians, usual
from gateway.route.speeds import DEFAULT_SPEED
from gateway.route.waits import DEFAULT_TTFT, TYPICAL
from gateway.types import Priors
from tests.route.world import NOW, endpoint, plan, seconds, teach


def test_medians_over_those_about_whom_something_is_known() -> None:
    known = [
        FleetMedians((1.0, None), 10.0),
        FleetMedians((3.0, None), None, 0.9),
        FleetMedians((None, None), 30.0, 0.7, 0.5),
    ]
    assert usual(known) == FleetMedians((2.0, None), 20.0, median((0.9, 0.7)), 0.5)


def test_without_any_knowledge_the_defaults_stand() -> None:
    state = Fleet([endpoint("a"), endpoint("b")]).states["a"]
    assert seconds(state.waits.p50, TYPICAL) == pytest.approx(DEFAULT_TTFT, rel=0.01)
    assert state.speeds.p50 == DEFAULT_SPEED


def test_the_unknown_takes_after_its_published_peers() -> None:
    fleet = Fleet(
        [
            endpoint("a", priors=Priors(ttft_p50=0.4, throughput_p50=80, tools_ok=0.7, uptime=0.9)),
            endpoint("b", priors=Priors(ttft_p50=0.6, throughput_p50=60, tools_ok=0.8, uptime=0.8)),
            endpoint("new"),
        ]
    )
    plan(fleet)
    a, b, new = fleet.states.values()
    middle = (seconds(a.waits.p50) + seconds(b.waits.p50)) / 2
    assert (seconds(new.waits.p50), new.speeds.p50) == pytest.approx((middle, 70))
    assert seconds(new.waits.p50, TYPICAL) == pytest.approx(0.5, rel=0.15)
    assert (new.tools_ok, new.fails) == pytest.approx((0.75, 0.15))


def test_the_unknown_takes_after_its_measured_peers_at_every_prompt_size() -> None:
    fleet = Fleet([endpoint("a"), endpoint("new")])
    teach(fleet, "a", [0.2] * 60, prompt_tokens=100)
    teach(fleet, "a", [0.4] * 60, prompt_tokens=5_000)
    plan(fleet, now=NOW + 1)
    plan(fleet, now=NOW + 12)  # when the newcomer's figures are due again
    new = fleet.states["new"].waits.p50
    assert (seconds(new, 100), seconds(new, 5_000)) == pytest.approx((0.2, 0.4), rel=0.3)


def test_what_is_published_of_an_endpoint_counts_more_than_its_peers() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b", priors=Priors(ttft_p50=3.0))])
    teach(fleet, "a", [0.2] * 60)
    for later in (1, 12):
        plan(fleet, now=NOW + later)
    assert seconds(fleet.states["b"].waits.p50, TYPICAL) == pytest.approx(3.0, rel=0.1)
