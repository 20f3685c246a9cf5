from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.behaviour import Behaviour, Course
from gateway.sim.blocks import BLOCK
from gateway.sim.demofleet import FLEET
from gateway.sim.sim_host import FaultRates, Incidents, Slowdown
from gateway.types import Usage
from tests.sim.world import PROMPT, host, row

ROW = row(0.0, 1, 2, 3)


def world(*hosts: object, seed: int = 0) -> Behaviour:
    return Behaviour(hosts, seed, span=3600.0, days=1.0)  # type: ignore[arg-type]


def test_luck_is_the_requests_and_the_hosts_alone() -> None:
    """Whoever was asked before, and whatever for: two policies compare their choices, not their draws."""
    one, other = world(*FLEET), world(*FLEET)
    for number in range(50):
        other.send(FLEET[1].id, number, row(0.0, 100 + number), 0.0)
    asked = [world.send(FLEET[0].id, 77, row(0.0, 9), 0.0) for world in (one, other)]
    assert asked[0] == asked[1]
    assert asked[0] != world(*FLEET, seed=1).send(FLEET[0].id, 77, row(0.0, 9), 0.0)


def test_a_prompt_that_was_read_is_cached_there_and_nowhere_else() -> None:
    behaviour = world(host("a"), host("b"))
    first = behaviour.send("a", 0, ROW, 0.0)
    again = behaviour.send("a", 1, ROW, 0.1)
    assert (first.usage.cached, again.usage.cached) == (0, 3 * BLOCK)
    assert again.first < first.first  # less to read
    assert behaviour.send("b", 2, ROW, 0.2).usage.cached == 0
    assert behaviour.send("a", 3, ROW, 301.0).usage.cached == 0  # its time is over


def test_a_host_may_advertise_a_cache_and_never_hit() -> None:
    behaviour = world(host("a", hit_efficiency=0.0))
    behaviour.send("a", 0, ROW, 0.0)
    assert behaviour.send("a", 1, ROW, 0.0).usage.cached == 0
    assert behaviour.cached("a", ROW, 0.0) == 0


def test_a_request_that_was_refused_is_not_read() -> None:
    behaviour = world(host("a", rates=FaultRates(rate_limited=1.0, server_error=0.0, cut=0.0)))
    course = behaviour.send("a", 0, ROW, 0.0)
    assert course.failure is not None
    assert (course.failure.fault, course.failure.status, course.usage) == ("rate_limited", 429, Usage())
    assert behaviour.cached("a", ROW, 0.0) == 0


def test_faults_come_at_the_rates_of_the_host() -> None:
    behaviour = world(host("a", rates=FaultRates(rate_limited=0.1, server_error=0.2, cut=0.3)))
    courses = [behaviour.send("a", number, ROW, 0.0) for number in range(4_000)]
    faults = [course.failure.fault if course.failure else "ok" for course in courses]
    shares = {fault: faults.count(fault) / len(faults) for fault in ("rate_limited", "server", "cut")}
    assert shares == pytest.approx({"rate_limited": 0.1, "server": 0.2, "cut": 0.3}, abs=0.03)


def test_an_outage_hits_its_share_of_requests() -> None:
    always = Incidents(every=1.0, median=1e9)
    behaviour = world(host("a", incidents=always), host("b"))
    courses = [behaviour.send("a", number, ROW, 1800.0) for number in range(200)]
    assert sum(course.first == inf for course in courses) > 100
    assert behaviour.send("b", 0, ROW, 1800.0).failure is None


class TestBilled:
    COURSE = Course(2.0, 4.0, Usage(1000, 500, 80, 0, "host"))

    @pytest.mark.parametrize(("left_after", "written"), [(0.0, 0), (2.0, 0), (3.0, 40), (4.0, 80), (9.0, 80)])
    def test_the_prompt_and_what_was_written_when_the_client_left(self, left_after: float, written: int) -> None:
        assert self.COURSE.billed(left_after) == Usage(1000, 500, written, 0, "host")

    def test_what_was_refused_bills_nothing(self) -> None:
        assert Course(inf, 0.05, Usage()).billed(0.01) == Usage()


@given(st.integers(0, 10_000), st.integers(1, 200_000))
def test_a_course_runs_forward_and_never_bills_more_than_was_requested(number: int, tokens: int) -> None:
    behaviour = world(*[replace(one, incidents=Incidents(every=3600.0, median=600.0)) for one in FLEET])
    for one in FLEET:
        course = behaviour.send(one.id, number, row(0.0, 1, 2, tokens=tokens), 5.0)
        assert 0 < course.first <= course.last or course.first == inf
        assert 0 <= course.usage.cached <= course.usage.prompt <= tokens


def test_the_prompt_is_of_typical_size() -> None:
    assert world(host("a", ttft=1.5)).send("a", 0, row(0.0, tokens=PROMPT), 0.0).first == pytest.approx(1.5)


class TestLoad:
    LOADED = host("a", ttft=1.0, load=Slowdown(free=2, per=4.0))

    def test_a_host_slows_down_with_what_it_has_in_flight(self) -> None:
        behaviour = world(self.LOADED)
        courses = [behaviour.send("a", number, ROW, 0.0) for number in range(6)]
        assert [course.first for course in courses[:2]] == pytest.approx([1.0, 1.0 - 3 * BLOCK / 8_000])
        assert courses[5].first / courses[1].first == pytest.approx(1 + (6 - 2) / 4)
        assert (courses[0].speed or 0) / (courses[5].speed or 1) == pytest.approx(2.0)

    def test_what_is_over_takes_nothing(self) -> None:
        behaviour = world(self.LOADED)
        for number in range(6):
            behaviour.send("a", number, row(0.0), 0.0)
            behaviour.over("a")
        assert behaviour.send("a", 9, row(0.0), 0.0).first == pytest.approx(1.0)
