"""Exploration: a saved share, spent where it is cheap, on requests that begin a conversation."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.route.cost import Parts
from gateway.route.exchange import Exchange
from gateway.route.explore import BOUND, EXTRA, FEW, FEW_OF_FAR, KEPT, MOST_POLICIES, NEAR, Explorer, Explorers
from gateway.route.fleet import Fleet
from gateway.route.plan import Plan
from gateway.route.signals import Started
from gateway.types import Pick, Policy, Price, Priors, Request, Score
from tests.route.world import (
    CHEAPEST,
    NOW,
    attempt,
    endpoint,
    fail,
    plan,
    priced,
    request,
    saved,
    succeed,
    teach,
    try_of,
)

EXPLORES = replace(CHEAPEST, pick=Pick("best", explore=0.25))


@dataclass
class Known:
    """An endpoint of a plan, as far as exploring it is concerned."""

    score: float
    recent: float = 0.0
    familiar: bool = True
    attempted: float = 0.0
    time_usd: float = 0.0

    @property
    def parts(self) -> Parts:
        return self  # type: ignore[return-value]


def ready(usual: float = 100.0) -> Explorer:
    explorer = Explorer()
    explorer.saved, explorer.usual = 1.0, usual
    return explorer


def places(*top: Known, usual: float = 100.0) -> list[int]:
    return [place for place, _ in ready(usual).places(top)]


def ids(made: Plan) -> list[str]:
    return [choice.endpoint.id for choice in made.ranked]


def start(made: Plan, asked: Request) -> None:
    """The request goes out: that is when its exploration is paid for."""
    Exchange(asked, made).on(Started(NOW))


# --- what is saved ----------------------------------------------------------------------------------------------


def test_each_request_saves_its_share_and_an_exploration_takes_one() -> None:
    explorer = Explorer()
    top = [Known(1.0)]
    for _ in range(3):
        assert explorer.places(top) == []
        explorer.decided(0.25, 1.0, False)
    explorer.decided(0.25, 1.0, False)
    assert explorer.places(top) == [(0, 1.0)]
    explorer.decided(0.25, 1.0, True)
    assert explorer.saved == 0.25
    assert explorer.places(top) == []


def test_what_is_usual_follows_the_scores() -> None:
    explorer = Explorer()
    assert explorer.limit(1.0) == 1.0, "nothing is usual yet"
    for _ in range(1_000):
        explorer.decided(0.0, 0.4, False)
    assert explorer.usual == pytest.approx(0.4, rel=0.01)
    assert explorer.limit(1.0) == pytest.approx(1.0 + EXTRA * 0.4, rel=0.01)


def test_a_long_time_without_a_chance_to_explore_does_not_pay_for_a_burst() -> None:
    explorer = Explorer()
    for _ in range(10_000):
        explorer.decided(0.02, 1.0, False)
    assert explorer.saved == KEPT


@given(st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.02, 0.03])), st.lists(st.booleans(), max_size=300))
@example(0.03, [True] * 100)
@example(0.02, [number % 7 == 0 for number in range(300)])
def test_explorations_stay_within_their_share_at_every_moment(share: float, wanted: list[bool]) -> None:
    explorer, top, explored = Explorer(), [Known(1.0)], 0
    for requests, wants in enumerate(wanted, 1):
        explores = wants and bool(explorer.places(top))
        explorer.decided(share, 1.0, explores)
        explored += explores
        assert explored <= share * requests + 1e-9
        assert 0 <= explorer.saved <= KEPT


def test_every_policy_that_explores_saves_for_itself_across_reloads() -> None:
    explorers = Explorers()
    one = explorers.of(EXPLORES)
    assert one is not None
    assert explorers.of(replace(EXPLORES, pick=Pick("sample", explore=0.5))) is one, "the file was read again"
    assert explorers.of(replace(EXPLORES, name="other")) is not one
    assert explorers.of(replace(EXPLORES, pick=Pick(explore=0.0))) is None


def test_policies_that_clients_make_up_do_not_fill_the_memory() -> None:
    explorers = Explorers()
    one = explorers.of(EXPLORES)
    for number in range(MOST_POLICIES):
        explorers.of(replace(EXPLORES, name=f"p{number}"))
    assert explorers.of(EXPLORES) is not one


# --- which endpoints --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recent", "explored"), [(0.0, True), (FEW - 0.1, True), (FEW, False), (40.0, False)])
def test_one_with_few_recent_answers_is_explored(recent: float, explored: bool) -> None:
    assert places(Known(1.0, recent)) == [0] * explored


@pytest.mark.parametrize(("score", "explored"), [(1.0, True), (BOUND, True), (BOUND + 0.01, False)])
def test_none_beyond_the_bound(score: float, explored: bool) -> None:
    assert places(Known(1.0, FEW), Known(score)) == [1] * explored


@pytest.mark.parametrize(("score", "explored"), [(1.0 + 0.2 * EXTRA, True), (1.01 + 0.2 * EXTRA, False)])
def test_a_request_that_is_far_larger_than_usual_does_not_explore_far(score: float, explored: bool) -> None:
    assert places(Known(1.0, FEW), Known(score), usual=0.2) == [1] * explored


@pytest.mark.parametrize(
    ("score", "recent", "explored"),
    [
        (NEAR, FEW - 1, True),
        (NEAR + 0.01, FEW - 1, False),
        (NEAR + 0.01, FEW_OF_FAR, False),
        (NEAR + 0.01, 0.0, True),
    ],
)
def test_one_that_is_known_to_be_far_is_explored_less(score: float, recent: float, explored: bool) -> None:
    assert places(Known(1.0, FEW), Known(score, recent)) == [1] * explored


def test_one_that_is_hardly_known_is_hoped_to_be_as_fast_as_any() -> None:
    best, newcomer = Known(1.0, FEW, time_usd=0.5), Known(9.0, 1.0, familiar=False, time_usd=8.5)
    assert places(best, newcomer) == [1]
    assert places(best, replace(newcomer, familiar=True)) == []
    assert places(best, replace(newcomer, time_usd=7.0)) == [], "its price alone is beyond the bound"


def test_the_fewer_recent_answers_the_likelier() -> None:
    assert ready().places([Known(1.0, 4.0), Known(1.0, 0.0)]) == [(0, 0.2), (1, 1.0)]


# --- which requests ---------------------------------------------------------------------------------------------


def test_what_is_saved_is_spent_on_the_next_request_that_begins_a_conversation() -> None:
    fleet = priced(a=1.0, b=1.1)
    teach(fleet, "a", [1.0] * 25)
    turn = request(prefix=((1, 900),))
    attempt(fleet, "a", turn)
    saved(fleet, EXPLORES)
    assert plan(fleet, turn, EXPLORES).picked == "stays"
    made = plan(fleet, request(), EXPLORES)
    assert (made.picked, ids(made)) == ("explore", ["b", "a"])
    start(made, request())
    assert plan(fleet, request(), EXPLORES).picked == "best"


def test_a_plan_that_nothing_is_sent_for_costs_and_saves_nothing() -> None:
    fleet = saved(priced(a=1.0, b=1.1), EXPLORES)
    for _ in range(5):
        assert plan(fleet, policy=EXPLORES).picked == "explore"
    explorer = fleet.explorers.of(EXPLORES)
    assert explorer is not None
    assert explorer.saved == 1.0


def test_where_nothing_is_left_to_send_to_nothing_is_saved() -> None:
    fleet = Fleet()
    made = plan(fleet, policy=EXPLORES)
    start(made, request())
    assert made.explorer is not None
    assert made.explorer.saved == 0.0


def test_requests_of_other_policies_and_of_fixed_picks_do_not_explore() -> None:
    fleet = saved(priced(a=1.0, b=1.1), EXPLORES)
    assert plan(fleet, policy=replace(EXPLORES, name="other")).picked == "best"
    assert plan(fleet, policy=replace(EXPLORES, pick=Pick("order", explore=0.25))).picked == "order"


def test_a_worse_tier_is_not_explored() -> None:
    fleet = priced(a=1.0, b=1.0, c=1.0)
    teach(fleet, "a", [1.0] * 25)
    fail(fleet, attempt(fleet, "b"), "rate_limited", NOW, retry_after=30.0)
    saved(fleet, EXPLORES)
    assert ids(plan(fleet, policy=EXPLORES, now=NOW + 1)) == ["c", "a", "b"]


def test_explorations_have_odds_too() -> None:
    fleet = saved(priced(a=1.0, b=1.1), EXPLORES)
    teach(fleet, "a", [1.0] * 4)
    made = plan(fleet, policy=EXPLORES, now=NOW + 1)
    weight = 1 / (1 + fleet.states["a"].recent) / (1 + fleet.states["a"].attempted)
    assert made.picked == "explore"
    assert made.odds == pytest.approx({"a": weight / (1 + weight), "b": 1 / (1 + weight)})


def test_a_newcomer_is_found_however_slow_its_host_was_said_to_be() -> None:
    policy = replace(EXPLORES, score=Score(value_of_time=10.0))
    slow = endpoint("new", priors=Priors(ttft_p50=30.0, throughput_p50=5.0))
    fleet = Fleet([endpoint("a"), slow])
    teach(fleet, "a", [1.0] * 25)
    made = plan(saved(fleet, policy), policy=policy, now=NOW + 1)
    assert (made.picked, ids(made)) == ("explore", ["new", "a"])
    assert made.ranked[0].score > BOUND * made.ranked[1].score


# --- whatever happens -------------------------------------------------------------------------------------------

hosts = st.lists(
    st.tuples(st.floats(0.05, 2.0), st.sampled_from([None, 0.5, 4.0]), st.sampled_from([None, 10.0, 90.0])),
    min_size=2,
    max_size=5,
)
story = st.lists(
    st.tuples(
        st.sampled_from([100, 2_000, 30_000]),  # tokens
        st.integers(0, 3),  # which conversation; 0 is a new one
        st.sampled_from(["ok", "ok", "ok", "server", "runs"]),
        st.sampled_from([0.0, 1.0, 40.0]),  # seconds since the one before
    ),
    max_size=60,
)


@settings(max_examples=100)
@given(
    hosts, st.sampled_from(["sample", "best"]), st.floats(0.05, 1.0), st.floats(0.0, 10.0), story, st.integers(0, 99)
)
def test_explorations_are_few_affordable_and_never_cost_a_conversation(
    found: list[Any], how: Any, share: float, value_of_time: float, story: list[Any], seed: int
) -> None:
    policy = Policy("p", score=Score(value_of_time=value_of_time), pick=Pick(how, 0.5, share))
    fleet = Fleet(
        endpoint(name, price=Price(price, price, price / 4), priors=Priors(ttft, speed))
        for name, (price, ttft, speed) in zip("abcde", found, strict=False)
    )
    chance, now, explored = Random(seed).random, NOW, 0
    for requests, (tokens, conversation, what, pause) in enumerate(story, 1):
        now += pause
        asked = request(prompt_tokens=tokens, prefix=((conversation, tokens),) if conversation else ())
        held = max(fleet.prefixes.matches(asked.prefix, fleet.ttls, now).values(), default=0)
        made = plan(fleet, asked, policy, now, chance)
        start(made, asked)
        explored += made.picked == "explore"
        assert explored <= share * requests + 1e-9
        if made.picked == "explore":
            assert held < tokens / 2
            assert_affordable(made)
        live(fleet, made, asked, what, now)


def assert_affordable(made: Plan) -> None:
    """By its score, or by what that would be if the endpoint were as fast as any."""
    first = made.ranked[0]
    top = [choice for choice in made.ranked if choice.tier == first.tier]
    hoped = first.score
    if not first.familiar:
        hoped -= first.parts.time_usd - min(choice.parts.time_usd for choice in top)
    assert hoped <= BOUND * min(choice.score for choice in top) * (1 + 1e-9)


def live(fleet: Fleet, made: Plan, asked: Request, what: str, now: float) -> None:
    tried = try_of(made, asked)
    fleet.sent(tried, now)
    if what == "server":
        fail(fleet, tried, "server", now)
    elif what == "ok":
        fleet.began(tried, now + 1.0)
        succeed(fleet, tried, now)
