"""What an attempt's end teaches about the time to first token."""

import pytest

from gateway.route.fleet import Fleet
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.types import HedgeResult, Usage
from tests.route.world import NOW, attempt, endpoint, fresh, recent, seconds

NOTHING = Usage()


def ended(fleet: Fleet, cancelled: bool, hedge: HedgeResult, ttft: float | None, after: float) -> TrackedAttempt:
    tried = attempt(fleet, "a/fp8")
    tried.hedge = hedge not in ("", "beaten")
    if ttft is not None:
        fleet.began(tried, NOW + ttft)
    fleet.learn(tried, Book(1, None, cancelled, hedge), Observation(NOTHING, ttft, None), NOW + after, lambda: 0.5)
    return tried


def samples(fleet: Fleet) -> float:
    return fleet.states["a/fp8"].waits.trends[0].usual.count(NOW)


@pytest.mark.parametrize(
    ("cancelled", "hedge", "ttft", "counted"),
    [
        (False, "", 1.0, 1),  # an answer
        (True, "", 1.0, 0),  # the client left an answer that had begun
        (True, "", None, 1),  # the client left before the first token
        (True, "beaten", None, 1),  # the second attempt was first
        (False, "won", 0.1, 0),  # heard because it was quick
        (True, "lost", None, 0),  # not heard to its end
        (True, "cancelled", None, 0),
    ],
)
def test_a_hedge_says_nothing_about_the_time_to_first_token(
    cancelled: bool, hedge: HedgeResult, ttft: float | None, counted: int
) -> None:
    """Only quick ones are heard: counted, they would make an endpoint look quicker than it is."""
    fleet = Fleet([endpoint()])
    ended(fleet, cancelled, hedge, ttft, after=2.0)
    assert samples(fleet) == pytest.approx(counted, abs=0.01)


@pytest.mark.parametrize(("hedge", "counted"), [("", 1), ("beaten", 1), ("won", 0), ("lost", 0)])
def test_a_first_token_shows_at_once_unless_it_is_a_hedges(hedge: HedgeResult, counted: int) -> None:
    fleet = Fleet([endpoint()])
    ended(fleet, True, hedge, 1.0, after=2.0)
    assert recent(fleet.states["a/fp8"], NOW + 2) == pytest.approx(counted, abs=0.1)


def test_a_wait_that_was_broken_off_counts_as_what_takes_longer() -> None:
    fleet = Fleet([endpoint()])
    for _ in range(50):
        ended(fleet, False, "", 1.0, after=1.0)
        ended(fleet, False, "", 9.0, after=9.0)
        ended(fleet, True, "beaten", None, after=2.0)
    state = fresh(fleet.states["a/fp8"], NOW + 9)
    assert seconds(state.waits.mean) == pytest.approx((50 * 1.0 + 100 * 9.0) / 150, rel=0.1)


def test_a_wait_longer_than_any_known_counts_in_full() -> None:
    fleet = Fleet([endpoint()])
    for _ in range(30):
        ended(fleet, True, "", None, after=40.0)
    assert seconds(fresh(fleet.states["a/fp8"], NOW + 40).waits.p50) == pytest.approx(40.0, rel=0.15)
