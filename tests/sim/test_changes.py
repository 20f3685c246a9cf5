from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.behaviour import Behaviour
from gateway.sim.blocks import BLOCK
from gateway.sim.changes import HostChange, Phases, reconfigured
from gateway.sim.demofleet import FLEET
from gateway.sim.sim_host import FaultRates, SimHost
from gateway.types import Price, Usage
from tests.sim.world import host, row

DEAR = Price(2.0, 4.0, 0.2)


def world(*changes: HostChange, hosts: list[SimHost] | None = None) -> Behaviour:
    return Behaviour(hosts or [host("a"), host("b")], seed=0, span=3600.0, days=1.0, changes=changes)


@given(st.integers(0, 500), st.integers(1, 120_000), st.floats(1.1, 5.0), st.floats(0.1, 0.9))
def test_a_change_alters_what_a_host_does_and_not_its_luck(number: int, tokens: int, ttft: float, speed: float) -> None:
    """The same draws, so many times as long: the prompt's reading included."""
    name = FLEET[0].id
    usual, slow = (
        Behaviour([replace(FLEET[0], rates=FaultRates(0.0, 0.0, 0.0))], 0, 3600.0, 1.0, changes).send(
            name, number, row(0.0, tokens=tokens), 5.0
        )
        for changes in ([], [HostChange(name, 0.0, 10.0, ttft=ttft, speed=speed)])
    )
    assert slow.first == pytest.approx(usual.first * ttft)
    assert slow.last - slow.first == pytest.approx((usual.last - usual.first) / speed)
    assert slow.usage == usual.usage


def test_a_change_lasts_from_its_start_to_before_its_end_and_is_of_one_host() -> None:
    behaviour = world(HostChange("a", 10.0, 20.0, ttft=3.0))
    waits = [behaviour.send("a", number, row(0.0), now).first for number, now in enumerate((9.9, 10.0, 19.9, 20.0))]
    assert waits == pytest.approx([1.0, 3.0, 3.0, 1.0])
    assert behaviour.send("b", 9, row(0.0), 15.0).first == pytest.approx(1.0)


def test_changes_of_one_moment_come_together() -> None:
    phases = Phases(
        host("a"), [HostChange("a", 0.0, 20.0, ttft=2.0), HostChange("a", 10.0, 30.0, ttft=3.0, price=DEAR)]
    )
    assert [phases.at(now).host.ttft.p50 for now in (5.0, 15.0, 25.0, 35.0)] == pytest.approx([2.0, 6.0, 3.0, 1.0])
    assert [phases.at(now).host.price == DEAR for now in (5.0, 15.0, 25.0, 35.0)] == [False, True, True, False]


def test_a_host_stops_giving_hits_and_gives_them_again() -> None:
    behaviour = world(HostChange("a", 10.0, 20.0, hit_efficiency=0.0))
    hits = [behaviour.send("a", number, row(0.0, 1, 2), now).usage.cached for number, now in enumerate((9, 11, 21))]
    assert hits == [0, 0, 2 * BLOCK]
    assert behaviour.cached("a", row(0.0, 1, 2), 15.0) == 0


def test_errors_are_replaced() -> None:
    course = world(HostChange("a", 0.0, errors=1.0)).send("a", 0, row(0.0), 1.0)
    assert course.failure is not None
    assert course.failure.status == 503


def test_a_silent_host_never_begins_and_bills_nothing() -> None:
    behaviour = world(HostChange("a", 10.0, 20.0, silent=True))
    course = behaviour.send("a", 0, row(0.0, 1), 15.0)
    assert (course.first, course.last, course.failure, course.usage) == (inf, inf, None, Usage())
    assert behaviour.send("a", 1, row(0.0, 1), 20.0).usage.cached == 0  # nothing was read


def test_the_configuration_changes_where_hosts_come_and_go_or_prices_change() -> None:
    changes = [
        HostChange("a", 5.0, 9.0, ttft=2.0),
        HostChange("b", 0.0, 7.0, absent=True),
        HostChange("a", 3.0, price=DEAR),
    ]
    assert reconfigured(changes) == [0.0, 3.0, 7.0]


def test_a_change_of_no_host_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="unknown hosts: c"):
        world(HostChange("c", 0.0, 1.0))
