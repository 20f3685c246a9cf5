"""An endpoint of which nothing is known is taken for a usual one."""

from statistics import median

import pytest

from gateway.route.endpoint import DEFAULT_SPEED, DEFAULT_TTFT
from gateway.route.fleet import Fleet
from gateway.route.peers import Peers, usual
from gateway.types import Priors
from tests.route.world import NOW, endpoint, plan, teach


def test_medians_over_those_about_whom_something_is_known() -> None:
    known = [Peers((1.0, None), 10.0), Peers((3.0, None), None, 0.9), Peers((None, None), 30.0, 0.7, 0.5)]
    assert usual(known) == Peers((2.0, None), 20.0, median((0.9, 0.7)), 0.5)


def test_without_any_knowledge_the_defaults_stand() -> None:
    state = Fleet([endpoint("a"), endpoint("b")]).states["a"]
    assert (state.ttft_p50[0], state.speed_p50) == (DEFAULT_TTFT, DEFAULT_SPEED)


def test_the_unknown_takes_after_its_published_peers() -> None:
    fleet = Fleet(
        [
            endpoint("a", priors=Priors(ttft_p50=0.4, throughput_p50=80, tools_ok=0.7, uptime=0.9)),
            endpoint("b", priors=Priors(ttft_p50=0.6, throughput_p50=60, tools_ok=0.8, uptime=0.8)),
            endpoint("new"),
        ]
    )
    plan(fleet)
    new = fleet.states["new"]
    assert (new.ttft_p50[0], new.speed_p50) == pytest.approx((0.5, 70))
    assert (new.tools_ok, new.fails) == pytest.approx((0.75, 0.15))


def test_the_unknown_takes_after_its_measured_peers_at_every_prompt_size() -> None:
    fleet = Fleet([endpoint("a"), endpoint("new")])
    teach(fleet, "a", [0.2] * 60, prompt_tokens=100)
    teach(fleet, "a", [0.4] * 60, prompt_tokens=5_000)
    plan(fleet, now=NOW + 1)
    plan(fleet, now=NOW + 12)  # when the newcomer's figures are due again
    assert fleet.states["new"].ttft_p50[:2] == pytest.approx([0.2, 0.4], rel=0.3)


def test_what_is_published_of_an_endpoint_counts_more_than_its_peers() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b", priors=Priors(ttft_p50=3.0))])
    teach(fleet, "a", [0.2] * 60)
    for later in (1, 12):
        plan(fleet, now=NOW + later)
    assert fleet.states["b"].ttft_p50[0] == 3.0


def test_larger_prompts_start_from_what_was_seen_of_smaller_ones() -> None:
    fleet = Fleet([endpoint("a")])
    teach(fleet, "a", [0.1] * 200)
    plan(fleet, now=NOW + 1)
    assert fleet.states["a"].ttft_p50[1] == pytest.approx(0.35, abs=0.1)
