"""An endpoint without samples is taken for a usual one; one that does far worse than its peers is set back."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.filters import Tier
from gateway.route.fleet import Fleet
from gateway.route.peers import FIRST_TIME, LONGEST_TIME, FleetMedians, OutlierStats, fleet_medians, judge
from gateway.route.speeds import DEFAULT_SPEED
from gateway.route.waits import DEFAULT_TTFT, TYPICAL
from gateway.types import Priors
from tests.route.world import NOW, attempt, endpoint, fail, plan, seconds, succeed, teach


def test_medians_over_those_about_whom_something_is_known() -> None:
    known = [
        FleetMedians((1.0, None), 10.0),
        FleetMedians((3.0, None), None, 0.9),
        FleetMedians((None, None), 30.0, 0.7, 0.5),
    ]
    assert fleet_medians(known) == FleetMedians((2.0, None), 20.0, median((0.9, 0.7)), 0.5)


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


# --- outliers ----------------------------------------------------------------------------------------------------


class One:
    """An endpoint of which so many of 40 attempts failed, and whose first tokens take so many times as long."""

    def __init__(self, failed: int = 0, slowness: float = 1.0, attempts: int = 40, now: float = NOW) -> None:
        self.standing = OutlierStats()
        self.lives(failed, slowness, attempts, now)

    def lives(self, failed: int = 0, slowness: float = 1.0, attempts: int = 40, now: float = NOW) -> None:
        for number in range(attempts):
            self.standing.ended(int(number < failed), 1, now)
            self.standing.waited(slowness, now)

    @property
    def until(self) -> float:
        return self.standing.until


def test_who_fails_far_more_than_the_others_is_set_back() -> None:
    bad, others = One(failed=20), [One(failed=1), One(), One()]
    judge([bad, *others], NOW)
    assert bad.until == NOW + FIRST_TIME
    assert bad.standing.why == "49% of its requests fail, 0% at its peers"
    assert [one.until for one in others] == [0, 0, 0]


def test_who_is_far_slower_than_the_others_is_set_back() -> None:
    bad, others = One(slowness=9.0), [One(), One(slowness=1.5)]
    judge([bad, *others], NOW)
    assert bad.until == NOW + FIRST_TIME
    assert bad.standing.why.startswith("its first tokens take 7.")


@pytest.mark.parametrize(
    "fleet",
    [
        [One(failed=20), One(failed=18), One(failed=19), One(failed=22)],
        [One(slowness=3.0), One(), One()],
        [One(failed=20), One()],
        [One(failed=15, attempts=15), One(), One(), One()],
        [One(failed=20), One(), One(attempts=10), One(attempts=10)],
    ],
    ids=["all alike", "slower, not far", "too few peers", "too few samples", "too few samples of the peers"],
)
def test_who_is_not(fleet: list[One]) -> None:
    judge(fleet, NOW)
    assert [one.until for one in fleet] == [0] * len(fleet)


@pytest.mark.parametrize(("attempts", "judged"), [(19, False), (20, True)])
def test_20_attempts_are_enough(attempts: int, judged: bool) -> None:
    one = One(failed=20, attempts=attempts).standing
    assert (one.fails(NOW) is not None, one.slowness(NOW) is not None) == (judged, judged)


def times_set_back(judged_on_return: bool) -> list[float]:
    """How long one that always fails is set back, each of twelve times; its return is judged on nothing, or not."""
    bad, others = One(failed=40), [One(), One(), One()]
    now, times = NOW, []
    for _ in range(12):
        for one in others:
            one.lives(now=now)
        judge([bad, *others], now)
        times.append(bad.until - now)
        now = bad.until
        if judged_on_return:
            judge([bad, *others], now)
            assert bad.until == now, "nothing new is known of it"
        bad.lives(failed=40, now=now)
    return times


def test_the_time_grows_and_is_judged_on_what_came_after() -> None:
    times = times_set_back(judged_on_return=True)
    assert times[:3] == [FIRST_TIME, FIRST_TIME, FIRST_TIME], "each return without a fault forgives one time"
    assert max(times) <= LONGEST_TIME


def test_who_fails_on_at_once_is_set_back_for_longer() -> None:
    times = times_set_back(judged_on_return=False)
    assert times == [min(LONGEST_TIME, FIRST_TIME * (number + 1)) for number in range(12)]


@given(st.lists(st.builds(One, st.integers(0, 40), st.sampled_from([0.5, 1.0, 5.0, 40.0]), st.integers(0, 40))))
def test_never_more_than_half(fleet: list[One]) -> None:
    for round_number in range(4):
        now = NOW + 10 * round_number
        judge(fleet, now)
        assert sum(one.until > now for one in fleet) <= len(fleet) / 2


def test_the_fleet_uses_an_outlier_last_and_says_why() -> None:
    fleet = Fleet(endpoint(name) for name in "abcd")
    for number in range(40):
        for name in "abcd":
            tried = attempt(fleet, name)
            if name == "b" and number % 2:
                fail(fleet, tried, "server", NOW)
            else:
                succeed(fleet, tried, NOW)
    made = plan(fleet, now=NOW + 11)
    assert [choice.endpoint.id for choice in made.ranked][-1] == "b"
    last = made.ranked[-1]
    assert last.tier is Tier.OUTLIER
    assert last.why is not None
    assert last.why.detail == "49% of its requests fail, 0% at its peers; for another 30 s"
    assert "b" in [choice.endpoint.id for choice in plan(fleet, now=NOW + 42).ranked if choice.tier is Tier.GOOD]
