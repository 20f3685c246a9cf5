"""Slow start, counted in answers."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gateway.route.breaker import ENOUGH_AT_ONCE, FIRST, SlowStart
from gateway.route.filters import Tier
from gateway.route.fleet import Fleet
from tests.route.world import NOW, attempt, endpoint, fail, plan, succeed


def test_without_a_start_nothing_is_held_back() -> None:
    assert SlowStart().window == inf


def test_it_doubles_each_round_and_ends() -> None:
    ramp, rounds = SlowStart(), []
    ramp.begin()
    while ramp.window != inf:
        rounds.append(ramp.window)
        for _ in range(int(ramp.window)):
            ramp.ended(True)
    assert rounds == [2, 4, 8, 16]


@given(st.lists(st.booleans(), max_size=200))
def test_the_window_stays_in_its_bounds(results: list[bool]) -> None:
    ramp = SlowStart()
    ramp.begin()
    for good in results:
        if ramp.window != inf:
            ramp.ended(good)
        assert FIRST <= ramp.window < ENOUGH_AT_ONCE or ramp.window == inf


def test_a_newcomer_does_not_get_everything_at_once() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    fleet.configure([endpoint("a"), endpoint("b"), endpoint("new")])
    for _ in range(2):
        attempt(fleet, "new")
    held = next(choice for choice in plan(fleet).ranked if choice.endpoint.id == "new")
    assert (held.tier, held.why) == (Tier.BUSY, ("slow start", "2 of 2 at once, until it has proved itself"))


def test_endpoints_of_the_start_are_no_newcomers() -> None:
    assert Fleet([endpoint("a")]).states["a"].concurrency == inf


def test_who_came_back_starts_slowly() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    fleet.distrust("a", "account 402", NOW, 0.0)
    state, later = fleet.states["a"], NOW + 6
    for _ in range(2):
        assert state.concurrency == inf
        succeed(fleet, attempt(fleet, "a", now=later), later)
    assert state.concurrency == FIRST + 1
    fail(fleet, attempt(fleet, "a", now=later), "server", later)
    assert state.concurrency == FIRST
