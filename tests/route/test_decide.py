"""The plan: every endpoint ranked or dropped, hard limits kept, tiers in order, the first by score or a draw."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.decide import make_plan
from gateway.route.filters import Tier, hard_reason, late_for
from gateway.route.fleet import Fleet
from gateway.route.latency import is_latency
from gateway.route.plan import Plan
from gateway.types import (
    DataFacts,
    Endpoint,
    Limit,
    Limits,
    Pick,
    Policy,
    Price,
    PriceTier,
    Priors,
    Request,
    Require,
    Score,
    Window,
)
from tests.route.world import CHEAPEST, HOUR, NOW, attempt, endpoint, fail, plan, priced, request, saved


def ids(made: Plan) -> list[str]:
    return [choice.endpoint.id for choice in made.ranked]


def reasons(made: Plan) -> dict[str, str]:
    return {one.endpoint.id: one.reason.rule for one in made.dropped}


def never() -> float:
    raise AssertionError("nothing was left to chance")


# --- order ------------------------------------------------------------------------------------------------------


def test_the_best_score_comes_first_and_the_rest_follow_for_failover() -> None:
    made = plan(priced(b=0.2, c=0.3, a=0.1), policy=CHEAPEST, chance=never)
    assert (ids(made), made.picked, made.relaxed) == (["a", "b", "c"], "best", None)


def test_equal_scores_are_ordered_by_id() -> None:
    assert ids(plan(priced(c=0.1, a=0.1, b=0.1), policy=CHEAPEST)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("price", "cheap", "dear"),
    [
        (Price(0.1, 0.2, tiers=(PriceTier(20_000, 1.0, 2.0),)), {"prompt_tokens": 1_000}, {"prompt_tokens": 30_000}),
        (Price(1.0, 2.0, hours=(Window(22, 6, 0.1, 0.2),)), {"hour": 23}, {"hour": 12}),
    ],
    ids=["tiers alone", "hours alone"],
)
def test_a_price_that_depends_on_the_prompts_size_or_on_the_hour(
    price: Price, cheap: dict[str, int], dear: dict[str, int]
) -> None:
    fleet = Fleet([endpoint("a", price=price), endpoint("flat", price=Price(0.5, 1.0))])

    def order(hour: int = HOUR, prompt_tokens: int = 1_000) -> list[str]:
        return ids(make_plan(request(prompt_tokens=prompt_tokens), CHEAPEST, fleet, NOW, hour, never))

    assert order(**cheap) == ["a", "flat"]
    assert order(**dear) == ["flat", "a"]


def test_the_dial_turns_from_cheap_to_fast() -> None:
    slow = endpoint("slow", price=Price(0.1, 0.1), priors=Priors(throughput_p50=10))
    fast = endpoint("fast", price=Price(1.0, 1.0), priors=Priors(throughput_p50=100))
    fleet = Fleet([slow, fast])
    assert ids(plan(fleet, policy=CHEAPEST)) == ["slow", "fast"]
    assert ids(plan(fleet, policy=replace(CHEAPEST, score=Score(value_of_time=100.0)))) == ["fast", "slow"]


def test_a_conversation_returns_to_where_its_prefix_is() -> None:
    fleet = Fleet(endpoint(name, price=Price(price, price, price / 4)) for name, price in (("a", 0.20), ("b", 0.21)))
    turn = request(prefix=((1, 500), (2, 950)))
    assert ids(plan(fleet, turn, CHEAPEST)) == ["a", "b"]
    attempt(fleet, "b", turn)
    assert ids(plan(fleet, turn, CHEAPEST)) == ["b", "a"]
    assert ids(plan(fleet, turn, replace(CHEAPEST, affinity="none"))) == ["a", "b"]
    assert ids(plan(fleet, turn, CHEAPEST, now=NOW + 300)) == ["a", "b"], "the cache has forgotten it"


def test_a_new_prompt_goes_where_it_will_be_cheap_to_return_to() -> None:
    flat, cached = endpoint("flat", price=Price(0.20, 0.20)), endpoint("cached", price=Price(0.21, 0.21, 0.02))
    fleet, turn = Fleet([flat, cached]), request(prefix=((1, 950),))
    assert ids(plan(fleet, turn, CHEAPEST)) == ["cached", "flat"]
    assert ids(plan(fleet, request(), CHEAPEST)) == ["flat", "cached"], "nothing can be known of it later"
    assert ids(plan(fleet, turn, replace(CHEAPEST, affinity="none"))) == ["flat", "cached"]
    assert ids(plan(fleet, turn, replace(CHEAPEST, score=Score("list", 0.0)))) == ["flat", "cached"]


def test_tool_calls_decide_where_they_cost() -> None:
    good, bad = (endpoint(name, priors=Priors(tools_ok=share)) for name, share in (("good", 0.95), ("bad", 0.6)))
    fleet = Fleet([replace(good, price=Price(0.5, 1.0)), bad])
    policy = replace(CHEAPEST, score=Score(value_of_time=0.0, quality_cost=0.05))
    assert ids(plan(fleet, request(needs=frozenset({"tools"})), policy)) == ["good", "bad"]
    assert ids(plan(fleet, request(), policy)) == ["bad", "good"]


# --- tiers ------------------------------------------------------------------------------------------------------


def test_a_rate_limited_endpoint_is_tried_last() -> None:
    fleet = priced(a=0.1, b=0.2)
    fail(fleet, attempt(fleet, "a"), "rate_limited", NOW, retry_after=30)
    made = plan(fleet, policy=CHEAPEST)
    assert ids(made) == ["b", "a"]
    assert made.ranked[1].tier is Tier.BUSY


def test_rate_limited_everywhere_is_still_tried() -> None:
    fleet = priced(a=0.1, b=0.2)
    for name in "ab":
        fail(fleet, attempt(fleet, name), "rate_limited", NOW, retry_after=30)
    made = plan(fleet, policy=CHEAPEST)
    assert (ids(made), made.relaxed) == (["a", "b"], "busy")


def test_a_full_endpoint_is_tried_last_and_alone_all_the_same() -> None:
    full = endpoint("full", price=Price(0.1, 0.1), limits=Limits(concurrency=1))
    fleet = Fleet([full, endpoint("free")])
    attempt(fleet, "full")
    assert ids(plan(fleet, policy=CHEAPEST)) == ["free", "full"]
    fleet.configure([full])
    assert ids(plan(fleet, policy=CHEAPEST)) == ["full"]


def test_an_open_breaker_drops_the_endpoint_while_others_are_left() -> None:
    fleet = priced(a=0.1, b=0.2)
    fleet.distrust("a", "account 402", NOW, 0.0)
    made = plan(fleet, policy=CHEAPEST)
    assert (ids(made), reasons(made)) == (["b"], {"a": "breaker"})


def test_open_breakers_are_used_when_nothing_else_is_left() -> None:
    fleet = priced(a=0.1, b=0.2)
    for name in "ab":
        fleet.distrust(name, "account 402", NOW, 0.0)
    made = plan(fleet, policy=CHEAPEST)
    assert (ids(made), made.relaxed, reasons(made)) == (["a", "b"], "breaker open", {})


def test_open_breakers_are_not_used_while_another_model_may_be_tried() -> None:
    fleet = priced(a=0.1, b=0.2)
    fleet.distrust("a", "account 402", NOW, 0.0)
    assert ids(plan(fleet, request(other_models=1), CHEAPEST)) == ["b"]
    fleet.distrust("b", "account 402", NOW, 0.0)
    made = plan(fleet, request(other_models=1), CHEAPEST)
    assert (made.first, ids(made), reasons(made)) == (None, [], {"a": "breaker", "b": "breaker"})
    assert ids(plan(fleet, request(), CHEAPEST)) == ["a", "b"], "the last of the models"


def test_missed_preferences_come_after_the_others() -> None:
    policy = replace(CHEAPEST, prefer=(Limit("price.input", ">=", 0.15),))
    made = plan(priced(a=0.1, b=0.2), policy=policy)
    assert (ids(made), made.ranked[1].tier) == (["b", "a"], Tier.MISSED_PREFERENCE)
    alone = plan(priced(a=0.1), policy=policy)
    assert alone.relaxed == "missed preference"


def test_a_hard_limit_is_never_relaxed() -> None:
    policy = replace(CHEAPEST, require=Require(limits=(Limit("price.input", "<=", 0.05),)))
    made = plan(priced(a=0.1, b=0.2), policy=policy)
    assert (ids(made), reasons(made), made.picked) == ([], {"a": "price.input", "b": "price.input"}, "none")


# --- the pick ---------------------------------------------------------------------------------------------------


def test_a_fixed_policy_leaves_one_endpoint() -> None:
    made = plan(priced(a=0.1, b=0.2), policy=Policy("p", pick=Pick("fixed", endpoint="b")), chance=never)
    assert (ids(made), made.picked, reasons(made)) == (["b"], "fixed", {"a": "pick.endpoint"})


def test_a_policy_fixed_on_an_endpoint_that_is_not_there_drops_all_others() -> None:
    made = plan(priced(a=0.1, b=0.2), policy=Policy("p", pick=Pick("fixed", endpoint="gone")))
    assert (ids(made), reasons(made)) == ([], {"a": "pick.endpoint", "b": "pick.endpoint"})


def test_a_single_candidate_needs_no_chance() -> None:
    assert plan(priced(a=0.1), policy=Policy("p"), chance=never).picked == "only"


def test_no_endpoint_at_all() -> None:
    made = plan(Fleet(), policy=Policy("p"), chance=never)
    assert (made.ranked, made.dropped, made.picked, made.relaxed) == ((), (), "none", None)


def test_sampling_spreads_over_those_within_the_edge_by_the_square_of_the_score() -> None:
    fleet, draw = priced(a=1.00, b=1.08, far=1.50), Random(1).random
    policy = replace(CHEAPEST, pick=Pick("sample", edge=0.10, explore=0.0))
    first = Counter(ids(plan(fleet, policy=policy, chance=draw))[0] for _ in range(4_000))
    assert first.keys() == {"a", "b"}
    assert first["a"] / first["b"] == pytest.approx(1.08**2, rel=0.1)


SAMPLE = replace(CHEAPEST, pick=Pick("sample", edge=1.0, explore=0.0))


def test_the_odds_of_a_draw_are_in_the_plan() -> None:
    made = plan(priced(a=1.0, b=2.0, far=2.1), policy=SAMPLE)
    weights = {choice.endpoint.id: choice.score**-2 for choice in made.ranked[:2]}
    assert made.odds == pytest.approx({"a": weights["a"] / sum(weights.values()), "b": made.odds["b"]})
    assert sum(made.odds.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fleet", "policy"),
    [
        (priced(a=1.0, b=1.0), CHEAPEST),
        (priced(a=1.0), SAMPLE),
        (priced(a=1.0, b=5.0), SAMPLE),
        (priced(a=1.0, b=1.0), replace(SAMPLE, pick=Pick("order", order=("b",)))),
        (Fleet(), SAMPLE),
    ],
)
def test_without_a_draw_there_are_no_odds(fleet: Fleet, policy: Policy) -> None:
    assert plan(fleet, policy=policy, chance=never).odds == {}


@given(st.lists(st.floats(0.1, 1.0), min_size=2, max_size=6), st.floats(0.0, 2.0))
def test_odds_add_up_and_say_how_often_each_is_drawn(prices: list[float], edge: float) -> None:
    """Even steps over what chance may say draw each as often as its odds say, but for one step."""
    fleet = priced(**dict(zip("abcdef", prices, strict=False)))
    policy = replace(CHEAPEST, pick=Pick("sample", edge=edge, explore=0.0))
    steps = 400
    plans = [plan(fleet, policy=policy, chance=lambda number=number: (number + 0.5) / steps) for number in range(steps)]
    drawn = Counter(ids(made)[0] for made in plans)
    odds = plans[0].odds or {ids(plans[0])[0]: 1.0}
    assert sum(odds.values()) == pytest.approx(1.0)
    assert {name: drawn[name] / steps for name in odds} == pytest.approx(odds, abs=1.01 / steps)
    assert sum(drawn[name] for name in odds) == steps


# --- conversations ----------------------------------------------------------------------------------------------


def held(tokens: int, **asked: Any) -> tuple[Fleet, Request]:
    """Two endpoints, one of which has so many tokens of the request's prompt in its cache."""
    fleet = priced(a=1.0, b=1.0)
    attempt(fleet, "a", request(prefix=((1, tokens),)))
    return fleet, request(prefix=((1, tokens), (2, 990)), **asked)


@pytest.mark.parametrize(
    ("tokens", "opening", "picked"),
    [
        (500, 0, "stays"),  # of 1,000
        (499, 0, "sample"),
        (300, 300, "stays"),
        (299, 300, "sample"),  # a system prompt that many share
        (900, 950, "sample"),
    ],
)
def test_a_prompt_continues_a_conversation_from_its_opening_on_or_from_half_of_it(
    tokens: int, opening: int, picked: str
) -> None:
    fleet, turn = held(tokens, opening=opening)
    assert plan(fleet, turn, SAMPLE).picked == picked


def test_where_caches_do_not_matter_every_request_is_drawn() -> None:
    fleet, turn = held(900)
    assert plan(fleet, turn, replace(SAMPLE, affinity="none")).picked == "sample"


def test_one_that_stays_leaves_an_endpoint_that_has_become_too_dear() -> None:
    fleet, turn = held(900)
    fleet.configure([endpoint("a", price=Price(9.0, 9.0)), endpoint("b", price=Price(1.0, 1.0))])
    made = plan(fleet, turn, SAMPLE, chance=never)
    assert (ids(made), made.picked) == (["b", "a"], "best"), "nothing of the prompt is where it goes"


@given(
    st.lists(st.floats(0.1, 1.0), min_size=1, max_size=5),
    st.integers(0, 4),
    st.integers(500, 1_000),
    st.sampled_from(["sample", "best"]),
    st.floats(0.01, 1.0),
    st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=2, max_size=5),
)
def test_a_conversation_that_an_endpoint_holds_is_not_drawn_whatever_chance_says(
    prices: list[float], home: int, tokens: int, how: Any, explore: float, chances: list[float]
) -> None:
    fleet = priced(**dict(zip("abcde", prices, strict=False)))
    turn = request(prefix=((1, tokens),))
    attempt(fleet, "abcde"[home % len(prices)], turn)
    policy = replace(CHEAPEST, pick=Pick(how, 1.0, explore))
    saved(fleet, policy)
    plans = [plan(fleet, turn, policy, chance=lambda drawn=drawn: drawn) for drawn in chances]
    assert all(made == plans[0] for made in plans)
    assert [choice.score for choice in plans[0].ranked] == sorted(choice.score for choice in plans[0].ranked)
    assert plans[0].odds == {}


# --- for any fleet, policy, request -----------------------------------------------------------------------------

amounts = st.floats(0.01, 5.0)
endpoints = st.builds(
    lambda price, cached, quantization, context, concurrency, zdr, priors: {
        "price": Price(price, 2 * price, cached * price),
        "quantization": quantization,
        "context": context,
        "limits": Limits(concurrency=concurrency),
        "data": DataFacts(zdr=zdr),
        "priors": priors,
    },
    amounts,
    st.floats(0.1, 1.0),
    st.sampled_from(["fp8", "fp4", "unknown"]),
    st.sampled_from([4_096, 163_840]),
    st.sampled_from([None, 1]),
    st.sampled_from(["yes", "no", "unknown"]),
    st.builds(Priors, st.sampled_from([None, 0.5, 3.0]), st.sampled_from([None, 10.0, 90.0])),
)
fleets = st.lists(endpoints, max_size=6).map(
    lambda found: [endpoint(f"{'abcdef'[number]}/x", **facts) for number, facts in enumerate(found)]
)
limits = st.builds(
    Limit, st.sampled_from(["price.input", "price.output", "ttft_p95", "uptime_5m"]), st.just("<="), amounts
)
policies = st.builds(
    Policy,
    st.just("p"),
    require=st.builds(
        Require,
        only=st.sampled_from([(), (), ("a", "b/x")]),
        ignore=st.sampled_from([(), (), ("c",)]),
        quantization=st.sampled_from([(), (), ("fp8",)]),
        zdr=st.booleans(),
        limits=st.lists(limits, max_size=1).map(tuple),
    ),
    prefer=st.lists(limits, max_size=2).map(tuple),
    score=st.builds(Score, st.sampled_from(["effective", "list"]), st.sampled_from([0.0, 0.5, 100.0])),
    pick=st.one_of(
        st.builds(Pick, st.sampled_from(["sample", "best"]), st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5])),
        st.just(Pick("fixed", endpoint="b/x")),
    ),
    slo=st.lists(limits, max_size=1).map(tuple),
)
requests = st.builds(
    lambda tokens, most, prefix: request(
        prompt_tokens=tokens, max_tokens=most, prefix=((1, tokens),) if prefix else ()
    ),
    st.integers(1, 10_000),
    st.sampled_from([None, 100, 4_000]),
    st.booleans(),
)
histories = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["server", "rate_limited", "running"]), st.floats(0.0, 3.0)),
    max_size=25,
)


def lived(found: list[Endpoint], history: list[tuple[int, Any, float]], asked: Request) -> tuple[Fleet, float]:
    """A fleet to which all this has happened, whatever the order of its endpoints, and the time after it."""
    fleet, now = Fleet(found), NOW
    names = sorted(fleet.states)
    for number, what, pause in history:
        now += pause
        if number < len(names):
            tried = attempt(fleet, names[number], asked, now)
            if what != "running":
                fail(fleet, tried, what, now)
    return fleet, now


@settings(max_examples=300)
@given(fleets, policies, requests, histories, st.booleans(), st.integers(0, 99))
def test_a_plan_is_complete_lawful_ordered_and_repeatable(
    found: list[Endpoint],
    policy: Policy,
    asked: Request,
    history: list[tuple[int, Any, float]],
    explores: bool,
    seed: int,
) -> None:
    fleet, now = lived(found, history, asked)
    mirrored, _ = lived(found[::-1], history, asked)
    if explores and policy.pick.explore:
        saved(fleet, policy)
        saved(mirrored, policy)
    made = make_plan(asked, policy, fleet, now, HOUR, Random(seed).random)

    dropped = [one.endpoint.id for one in made.dropped]
    assert sorted(ids(made) + dropped) == sorted(one.id for one in found), "every endpoint is ranked or dropped"
    latency = tuple(limit for limit in policy.require.limits if is_latency(limit))
    for choice in made.ranked:
        assert hard_reason(choice.state, asked, policy) is None, "no hard limit is broken"
        assert late_for(choice.state, latency, choice.parts.size, choice.parts.pace) is None, "nor one on latency"
    tiers = [choice.tier for choice in made.ranked]
    assert tiers == sorted(tiers), "a worse tier never comes before a better one"
    rest = [(choice.tier, choice.score) for choice in made.ranked[1:]]
    assert rest == sorted(rest), "after the first, the order is by score"

    other = make_plan(asked, policy, mirrored, now, HOUR, Random(seed).random)
    assert (ids(other), other.picked) == (ids(made), made.picked), "the order of endpoints does not matter"
    assert reasons(other) == reasons(made)
    again = make_plan(asked, policy, fleet, now, HOUR, Random(seed).random)
    assert (again.ranked, again) == (made.ranked, made), "the same chance draws the same plan"
