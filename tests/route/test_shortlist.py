"""A plan made with a shortlist is the plan that asking every rule every time would make, whatever happens between."""

from dataclasses import replace
from math import ulp
from operator import is_
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.decide import make_plan
from gateway.route.filters import Tier as FilterTier
from gateway.route.fleet import SHORTLISTS, Fleet
from gateway.route.offers import MOST_LINES
from gateway.route.plan import Plan
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.types import (
    Cap,
    DataFacts,
    Limit,
    Limits,
    Pick,
    Policy,
    Price,
    PriceTier,
    Priors,
    PromptCache,
    Request,
    Require,
    Score,
    Usage,
    Window,
)
from tests.route import reference
from tests.route.world import BEST, HOUR, NOW, attempt, endpoint, fail, plan, request, succeed, teach

# --- what is kept, and how long ---------------------------------------------------------------------------------


def test_requests_of_one_kind_share_a_shortlist_until_a_figure_changes() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    first = fleet.shortlist(BEST, frozenset(), NOW)
    assert fleet.shortlist(BEST, frozenset(), NOW) is first
    assert fleet.shortlist(BEST, frozenset({"tools"}), NOW) is not first
    assert fleet.shortlist(Policy("other"), frozenset(), NOW) is not first
    assert fleet.shortlist(BEST, frozenset(), NOW) is first, "others take no room from it yet"
    fleet.states["b"].refresh(NOW)
    second = fleet.shortlist(BEST, frozenset(), NOW)
    assert second is not first
    fleet.states["b"].configure(endpoint("b", context=500))
    assert fleet.shortlist(BEST, frozenset(), NOW) is not second


def test_the_shortlist_that_a_refresh_made_is_shared_too() -> None:
    fleet, later = Fleet([endpoint("a"), endpoint("b")]), NOW + 3_600
    before = fleet.shortlist(BEST, frozenset(), NOW)
    first = fleet.shortlist(BEST, frozenset(), later)
    assert first is not before
    assert fleet.shortlist(BEST, frozenset(), later) is first


def test_what_several_endpoints_have_learned_takes_one_refresh() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    for name, at in (("a", NOW), ("b", NOW + 0.05)):
        teach(fleet, name, [1.0], at)
    first = fleet.shortlist(BEST, frozenset(), NOW + 0.11)
    assert fleet.shortlist(BEST, frozenset(), NOW + 0.2) is first


@pytest.mark.parametrize(("answers", "rare"), [(4, True), (8, False)])
def test_one_that_had_few_answers_may_be_explored(answers: int, rare: bool) -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    for name, count in (("a", 8), ("b", answers)):
        teach(fleet, name, [1.0] * count)
    assert fleet.shortlist(BEST, frozenset(), NOW + 0.2).has_rare is rare


def test_only_a_suspect_is_looked_at() -> None:
    fleet = Fleet([endpoint("a", limits=Limits(concurrency=2)), endpoint("b")])
    shared = fleet.shortlist(BEST, frozenset(), NOW)
    usual = shared.sift(request(), NOW)
    assert fleet.changes.suspects == set()
    first, second = attempt(fleet, "a"), attempt(fleet, "a")
    assert fleet.changes.suspects == {fleet.states["a"]}
    assert [one.tier for one in shared.sift(request(), NOW)[0]] == [FilterTier.BUSY, FilterTier.GOOD]
    for one in (first, second):
        succeed(fleet, one, NOW)
    assert shared.sift(request(), NOW)[0] is usual[0]
    assert fleet.changes.suspects == set()


def test_nothing_is_made_of_those_behind_the_first_before_it_is_read() -> None:
    made = plan(Fleet([endpoint("a"), endpoint("b"), endpoint("c")]))
    assert (made.choices, len(made.places)) == ((), 3)
    assert made.ranked == made.choices
    assert [choice.endpoint for choice in made.ranked] == made.endpoints


def test_figures_are_those_of_the_decision_whenever_they_are_read() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b", price=Price(0.2, 0.4))])
    early, late = plan(fleet), plan(fleet)
    seen = early.ranked
    for _ in range(40):
        attempt(fleet, "a")
    assert fleet.states["a"].load.crowded > 1
    assert late.ranked == seen


def test_what_is_shared_is_not_changed_by_what_one_request_finds() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b", context=500)])
    shared = fleet.shortlist(BEST, frozenset(), NOW)
    small, large = request(prompt_tokens=100), request(prompt_tokens=1_000, body={"seed": 1})
    before = [list(part) for part in shared.sift(small, NOW)]
    fail(fleet, attempt(fleet, "a", large), "rejected", NOW, param="seed")
    kept, dropped = shared.sift(large, NOW)
    assert [one.tier for one in kept] == [FilterTier.LIKELY_REFUSAL]
    assert len(dropped) == 1
    assert [list(part) for part in shared.sift(small, NOW)] == before


def test_there_are_never_more_than_so_many() -> None:
    fleet = Fleet([endpoint("a")])
    policies = [Policy(f"p{number}") for number in range(SHORTLISTS + 1)]
    first = fleet.shortlist(policies[0], frozenset(), NOW)
    for policy in policies:
        fleet.shortlist(policy, frozenset(), NOW)
    assert fleet.shortlist(policies[0], frozenset(), NOW) is not first, "the oldest made room"


def test_the_oldest_shortlist_alone_makes_room() -> None:
    fleet = Fleet([endpoint("a")])
    policies = [Policy(f"p{number}") for number in range(SHORTLISTS + 1)]
    before = [fleet.shortlist(policy, frozenset(), NOW) for policy in policies]
    after = [fleet.shortlist(policy, frozenset(), NOW) for policy in policies[1:]]
    assert all(map(is_, after, before[1:]))


def test_a_shortlist_that_was_made_anew_is_not_the_oldest() -> None:
    fleet = Fleet([endpoint("a")])
    policies = [Policy(f"p{number}") for number in range(SHORTLISTS)]
    for policy in policies:
        fleet.shortlist(policy, frozenset(), NOW)
    fleet.states["a"].refresh(NOW)
    anew = fleet.shortlist(policies[0], frozenset(), NOW)
    fleet.shortlist(Policy("another"), frozenset(), NOW)
    assert fleet.shortlist(policies[0], frozenset(), NOW) is anew


def test_a_shortlist_is_never_that_of_another_policy_with_the_same_id() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    strict = Policy("strict", require=Require(only=("a",)))
    for number in range(50):  # each one may get the memory, and so the id, of one before
        loose = Policy(f"loose {number}")
        assert fleet.shortlist(loose, frozenset(), NOW).policy is loose
        fleet.configure([endpoint("a"), endpoint("b")])
        fleet.shortlist(strict, frozenset(), NOW)


def test_a_plan_counts_the_load_of_its_moment() -> None:
    """What endpoints cost is kept from one decision to the next, until a load changes."""
    fleet = Fleet([endpoint("a"), endpoint("b", price=Price(0.26, 0.52))])
    before = plan(fleet)
    running = [attempt(fleet, "a") for _ in range(40)]
    during = plan(fleet)
    assert [choice.endpoint.id for choice in (before.ranked[0], during.ranked[0])] == ["a", "b"]
    for one in running:
        fleet.released(one, False, NOW)
    assert plan(fleet).ranked == before.ranked


@pytest.mark.parametrize("count", [1, MOST_LINES + 1])
def test_every_length_of_an_answer_has_its_own_price(count: int) -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    for most in [*range(1, count + 1), *range(1, count + 1)]:
        (choice, _) = plan(fleet, request(max_tokens=most)).ranked
        assert choice.parts.output_usd == pytest.approx(most * 0.5 / 1e6)
        assert choice.score >= choice.parts.plain


def test_a_changed_endpoint_is_judged_anew() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    assert len(plan(fleet).ranked) == 2
    fleet.configure([endpoint("a", context=500), endpoint("b"), endpoint("c", supports=())])
    assert [choice.endpoint.id for choice in plan(fleet, request(needs=frozenset({"tools"}))).ranked] == ["b"]


def test_limits_on_latency_are_left_to_the_plan_which_knows_the_prompt() -> None:
    never = (Limit("ttft_p50", "<=", 0.001),)
    policy = Policy("p", require=Require(limits=(*never, Limit("context", ">=", 1.0))), slo=never, prefer=never)
    found = Fleet([endpoint("a")]).shortlist(policy, frozenset(), NOW)
    assert (found.walls, found.objectives) == (never, never)
    kept, dropped = found.sift(request(), NOW)
    assert ([(one.tier, one.why) for one in kept], dropped) == ([(FilterTier.GOOD, None)], [])


def test_a_replaced_endpoint_is_not_taken_for_the_one_before() -> None:
    fleet = Fleet([endpoint("a")])
    plan(fleet)
    fleet.configure([endpoint("b")])  # with as many refreshes
    assert [choice.endpoint.id for choice in plan(fleet).ranked] == ["b"]


def test_size_is_named_last_so_that_a_shorter_prompt_would_do() -> None:
    policy = Policy("p", require=Require(zdr=True))
    small = Fleet([endpoint(context=500)])
    made = [plan(small, request(prompt_tokens=1_000), one) for one in (policy, Policy("q"))]
    assert [one.dropped[0].reason.rule for one in made] == ["require.zdr", "context"]


# --- the same as without one ------------------------------------------------------------------------------------

amounts = st.floats(0.01, 5.0)
endpoints: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    price=st.builds(
        lambda price, cached, tiers, hours: Price(price, 2 * price, cached, tiers=tiers, hours=hours),
        amounts,
        st.one_of(st.none(), amounts),
        st.sampled_from([(), (), (PriceTier(5_000, 4.0, 8.0, 1.0),)]),
        st.sampled_from([(), (), (Window(HOUR, HOUR + 1, 0.05, 0.1),)]),
    ),
    quantization=st.sampled_from(["fp8", "fp8", "unknown"]),
    context=st.sampled_from([4_096, 163_840]),
    max_input=st.sampled_from([None, None, 3_000]),
    max_output=st.sampled_from([None, 2_000]),
    supports=st.sampled_from([(), ("tools",), ("tools", "seed")]),
    limits=st.builds(
        Limits, st.sampled_from([None, 8]), st.sampled_from([None, 20_000]), st.sampled_from([None, None, 1, 2])
    ),
    data=st.builds(DataFacts, zdr=st.sampled_from(["yes", "unknown"]), region=st.sampled_from(["eu", "unknown"])),
    cache=st.builds(PromptCache, ttl=st.sampled_from([None, 2.0])),
    priors=st.builds(
        Priors,
        st.sampled_from([None, 0.5, 3.0]),
        st.sampled_from([None, 10.0, 90.0]),
        st.sampled_from([None, 0.5]),
        st.sampled_from([None, 0.8, 1.0]),
    ),
    api_key_env=st.sampled_from([None, "KEY"]),
)
facts = st.lists(endpoints, max_size=6)
limits = st.builds(
    Limit,
    st.sampled_from(
        [
            "price.input",
            "price.cached_input",
            "context",
            "max_output",
            "uptime_5m",
            "tools_ok",
            "ttft_p50",
            "ttft_p95",
            "throughput_p50",
            "throughput_p90",
        ]
    ),
    st.sampled_from(["<=", ">="]),
    st.sampled_from([0.5, 0.9, 2.0, 30.0, 100_000.0]),
)
many_limits = st.lists(limits, max_size=2).map(tuple)
policies = st.builds(
    Policy,
    st.just("p"),
    require=st.builds(
        Require,
        only=st.sampled_from([(), (), ("a", "b/x")]),
        ignore=st.sampled_from([(), (), ("c",)]),
        quantization=st.sampled_from([(), (), ("fp8",)]),
        region=st.sampled_from([(), (), ("eu",)]),
        zdr=st.sampled_from([False, False, True]),
        limits=st.one_of(st.just(()), many_limits),
    ),
    prefer=many_limits,
    slo=st.one_of(st.just(()), many_limits),
    score=st.builds(
        Score,
        st.sampled_from(["effective", "list"]),
        st.sampled_from([0.0, 0.5, 100.0]),
        st.sampled_from([0.0, 0.002]),
        st.sampled_from([0.0, 0.05]),
        st.sampled_from([None, 0.0, 20.0]),
    ),
    pick=st.one_of(
        st.builds(Pick, st.sampled_from(["sample", "best"]), st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5])),
        st.just(Pick("fixed", endpoint="b/x")),
        st.sampled_from([Pick("order", order=("c", "b/x")), Pick("latency"), Pick("throughput")]),
    ),
    affinity=st.sampled_from(["prefix", "session", "none"]),
    cap=st.sampled_from([Cap(), Cap(), Cap(0.1), Cap(0.4, 10.0)]),
)
prefixes = st.lists(st.integers(0, 1), max_size=4).map(
    lambda path: tuple((hash(tuple(path[: end + 1])) % 2**64, 400 * (end + 1)) for end in range(len(path)))
)
requests = st.builds(
    lambda tokens, doubt, most, prefix, opening, needs, seed, stream, others: request(
        prompt_tokens=tokens,
        doubt=doubt,
        max_tokens=most,
        prefix=prefix,
        opening=opening,
        needs=frozenset(needs),
        body={"messages": [], "seed": seed},
        stream=stream,
        other_models=others,
    ),
    st.one_of(st.integers(0, 10_000), st.sampled_from([2_000, 3_000, 4_095, 4_096])),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([None, None, 100, 2_000, 4_000]),
    prefixes,
    st.sampled_from([0, 400, 900]),
    st.sampled_from([(), (), ("tools",), ("tools", "seed")]),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from([0, 0, 1]),
)
goods = ["ok", "slow", "ok x 25", "ok x 90"]
happenings = [*goods, "server", "server x 5", "rate_limited", "rejected", "runs", "left", "distrust"]
steps = st.lists(
    st.tuples(
        st.integers(0, 5),  # which endpoint
        st.sampled_from([*happenings, "configure"]),
        st.integers(0, 2),  # which request
        st.sampled_from([0.0, 0.05, 0.2, 3.0, 15.0]),  # seconds since the step before
    ),
    max_size=12,
)


def live(fleet: Fleet, number: int, what: Any, asked: Request, policy: Policy, now: float) -> None:
    """Something happens to an endpoint."""
    names = sorted(fleet.states)
    if number < len(names):
        name = names[number]
        what, _, times = what.partition(" x ")
        for _ in range(int(times or 1)):
            if what == "distrust":
                fleet.distrust(name, "account 402", now, 0.0)
            else:
                end(fleet, attempt(fleet, name, asked, now, matched=200, policy=policy), what, now)


def end(fleet: Fleet, tried: TrackedAttempt, how: Any, now: float) -> None:
    prompt = tried.request.prompt_tokens
    if how in ("ok", "slow"):
        ttft = 0.7 if how == "ok" else 9.0
        fleet.began(tried, now + ttft)
        succeed(fleet, tried, now, ttft, Usage(prompt, prompt // 2, 700, 0, "host"))
    elif how == "left":
        fleet.released(tried, True, now + 5)
    elif how != "runs":
        fail(fleet, tried, how, now, param="seed" if how == "rejected" else None)


def close(value: float, total: float = 0.0) -> Any:
    """A part that is what others leave of a total is as exact as the total, after a few roundings."""
    return pytest.approx(value, rel=1e-12, abs=1e-15 + 8 * ulp(total))


def assert_same(made: Plan, plain: reference.Plan) -> None:
    assert made.picked == plain.picked
    assert made.odds == {name: close(share) for name, share in plain.odds.items()}
    assert {one.endpoint.id: tuple(one.reason) for one in made.dropped} == plain.dropped
    assert len(made.dropped) == len(plain.dropped)
    assert [choice.endpoint.id for choice in made.ranked] == [one.id for one in plain.ranked]
    for choice, one in zip(made.ranked, plain.ranked, strict=True):
        parts = choice.parts
        assert (choice.tier, choice.why) == (one.tier, one.why)
        assert choice.score == close(one.score)
        assert (parts.usd, parts.quality_usd) == (close(one.usd), close(one.quality))
        assert (parts.reread_usd, parts.toll_usd) == (close(one.reread), close(one.toll))
        assert (parts.time_usd, parts.miss_usd) == (close(one.time, one.score), close(one.miss))
        assert (parts.hit, parts.uncached) == (close(one.hit), close(one.uncached))
        assert (parts.ttft, parts.seconds, parts.fails) == (one.ttft, close(one.seconds), one.fails)


@settings(max_examples=100)
@given(facts, policies, requests, steps)
def test_no_change_is_missed(found: list[dict[str, Any]], policy: Policy, asked: Request, history: list[Any]) -> None:
    fleet, now = Fleet(endpoint(f"{'bacdfe'[number]}/x", **about) for number, about in enumerate(found)), NOW
    for number, what, _, pause in history:
        now += pause
        if what != "configure":
            live(fleet, number, what, asked, policy, now)
        if what == "left":
            make_plan(asked, policy, fleet, now, HOUR, lambda: 0.5)
        states = fleet.states.values()
        assert all(fleet.changes.due <= state.due for state in states)
        assert fleet.changes.suspects >= {state for state in states if state.is_suspect(now)}


@settings(max_examples=300)
@given(
    facts,
    st.lists(policies, min_size=2, max_size=2),
    st.lists(requests, min_size=3, max_size=3),
    steps,
    st.integers(0, 99),
)
def test_a_shortlist_changes_nothing(
    found: list[dict[str, Any]], chosen: list[Policy], asked: list[Request], history: list[Any], seed: int
) -> None:
    all_of_them = [endpoint(f"{'bacdfe'[number]}/x", **about) for number, about in enumerate(found)]
    fleet, now = Fleet(all_of_them), NOW

    def compare() -> None:
        for policy in chosen:
            for one in asked:
                made = make_plan(one, policy, fleet, now, HOUR, Random(seed).random)
                assert_same(made, reference.make_plan(one, policy, fleet, now, HOUR, Random(seed).random))
                if made.explorer is not None and made.ranked:
                    made.explorer.decided(policy.pick.explore, made.ranked[0].score, made.picked == "explore")

    compare()
    for number, what, which, pause in history:
        now += pause
        if what == "configure":
            fleet.configure([replace(one, context=4_096) for one in all_of_them[number:]])
        else:
            live(fleet, number, what, asked[which], chosen[0], now)
        compare()
