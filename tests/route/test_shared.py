"""What holds at an endpoint now, for several workers: what one publishes, and what the others make of it."""

import msgspec
import pytest

from gateway.route.breaker import FAULTS_IN_A_ROW, State
from gateway.route.endpoint_state import EndpointState
from gateway.route.fleet import Fleet
from gateway.route.posted import Posted
from gateway.route.shared import FRESH, NOTHING, Present, merge_present, own_present
from gateway.types import Limits
from tests.route.world import NOW, attempt, endpoint, fail, plan, succeed


def worker(concurrency: int | None = None, workers: int = 1) -> Fleet:
    return Fleet([endpoint("a", limits=Limits(concurrency=concurrency)), endpoint("b")], workers)


def posted(fleet: Fleet, now: float = NOW, age: float = 0.0) -> Posted[Present]:
    return Posted(b"other", now - age, age, own_present(fleet.states["a"], now - age) or NOTHING)


def a(fleet: Fleet) -> EndpointState:
    return fleet.states["a"]


def test_an_idle_endpoint_is_nothing_to_publish() -> None:
    assert own_present(a(worker()), NOW) is None


def test_what_others_have_in_flight_stands_apart_from_its_own() -> None:
    here, there = worker(), worker()
    attempt(here, "a")
    for _ in range(3):
        attempt(there, "a")
    for _ in range(2):
        merge_present(a(here), [posted(there)], NOW)
    assert (a(here).in_flight, a(here).elsewhere) == (1, 3)
    merge_present(a(here), [posted(there, age=FRESH + 1)], NOW)
    assert a(here).elsewhere == 0, "of a worker that may have ended"


def test_an_opening_elsewhere_puts_it_behind_and_a_closing_lets_it_start_slowly() -> None:
    here, there = worker(), worker()
    for _ in range(FAULTS_IN_A_ROW):
        fail(there, attempt(there, "a"), "server", NOW)
    merge_present(a(here), [posted(there)], NOW)
    assert [one.endpoint.id for one in plan(here).ranked] == ["b"]
    at = a(there).breaker.opens_until()
    for _ in range(2):
        succeed(there, attempt(there, "a", now=at), at)
    merge_present(a(here), [posted(there, at)], at)
    assert a(here).breaker.state(at) is State.CLOSED
    assert a(here).concurrency == 2


def test_a_retry_after_elsewhere_makes_it_busy_here() -> None:
    here, there = worker(), worker()
    fail(there, attempt(there, "a"), "rate_limited", NOW, retry_after=20.0)
    merge_present(a(here), [posted(there)], NOW)
    assert a(here).held_until == pytest.approx(NOW + 20)
    assert plan(here).ranked[0].endpoint.id == "b"


@pytest.mark.parametrize(
    ("mine", "theirs", "others", "allowed"),
    [(0, 0, 1, 5), (2, 0, 1, 6), (4, 4, 1, 5), (4, 6, 1, 4), (0, 20, 1, 0), (0, 0, 3, 3)],
)
def test_what_is_free_of_a_limit_is_for_all(mine: int, theirs: int, others: int, allowed: int) -> None:
    here = worker(concurrency=10)
    for _ in range(mine):
        attempt(here, "a")
    merge_present(a(here), [Posted(b"%d" % place, NOW, 0.0, Present(theirs // others)) for place in range(others)], NOW)
    assert a(here).concurrency == allowed


def test_while_that_is_not_known_it_keeps_to_its_share() -> None:
    here = worker(concurrency=10, workers=2)
    attempt(here, "a")
    assert a(here).concurrency == 5
    merge_present(a(here), [Posted(b"idle", NOW, 0.0, NOTHING)], NOW)
    assert a(here).concurrency == 6
    a(here).shares(None, 3)
    assert (a(here).concurrency, a(here).elsewhere) == (3, 0)


def test_it_can_be_read_by_a_version_that_knows_less_and_by_one_that_knows_more() -> None:
    there = worker()
    fail(there, attempt(there, "a"), "rate_limited", NOW, retry_after=20.0)
    for _ in range(FAULTS_IN_A_ROW):
        fail(there, attempt(there, "a"), "server", NOW)
    published = own_present(a(there), NOW)
    assert published is not None
    wire = msgspec.to_builtins(published)
    assert msgspec.convert([*wire, {"a later": "field"}], Present) == published
    assert msgspec.convert(wire[:1], Present) == Present(published.in_flight)
