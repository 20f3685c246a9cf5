"""Limits on latency: what one prompt is expected to meet at one endpoint, dropped, put behind, or priced."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.filters import Reason, Tier, late_for
from gateway.route.fleet import Fleet
from gateway.route.latency import expected, is_latency, preferences, seconds_over
from gateway.route.plan import Choice, Plan
from gateway.route.waits import SHARES, scale, size_class
from gateway.types import Limit, Measure, Pick, Policy, Price, Priors, Require, Score
from tests.route.world import CHEAPEST, NOW, attempt, endpoint, fail, plan, request, teach

TTFTS: tuple[Measure, ...] = ("ttft_p50", "ttft_p75", "ttft_p90", "ttft_p95", "ttft_p99")
SPEEDS: tuple[Measure, ...] = ("throughput_p50", "throughput_p75", "throughput_p90", "throughput_p99")


def published(name: str, ttft: float = 1.0, price: float = 1.0, speed: float = 50.0) -> Any:
    return endpoint(name, price=Price(price, price), priors=Priors(ttft_p50=ttft, throughput_p50=speed))


def ids(made: Plan) -> list[str]:
    return [choice.endpoint.id for choice in made.ranked]


def first(fleet: Fleet, **asked: Any) -> Choice:
    return plan(fleet, request(**asked), CHEAPEST).ranked[0]


# --- what is expected -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", get_args(Measure))
def test_times_and_speeds_are_judged_per_request_and_nothing_else(measure: Measure) -> None:
    assert is_latency(Limit(measure, "<=", 1.0)) == (measure in TTFTS + SPEEDS)


def figure(choice: Choice, measure: Measure) -> float:
    return expected(choice.state, measure, choice.parts.size, choice.parts.pace)


def test_a_longer_prompt_is_expected_to_wait_longer() -> None:
    fleet = Fleet([published("a")])
    short, long = (figure(first(fleet, prompt_tokens=tokens), "ttft_p50") for tokens in (1_000, 50_000))
    assert short < 1.0, "published figures are about longer prompts"
    assert long > 5.0


def test_a_prompt_that_the_cache_holds_is_expected_to_wait_less() -> None:
    fleet = Fleet([published("a")])
    turn = request(prompt_tokens=50_000, prefix=((1, 49_000),))
    before = figure(plan(fleet, turn, CHEAPEST).ranked[0], "ttft_p95")
    attempt(fleet, "a", turn)
    after = figure(plan(fleet, turn, CHEAPEST).ranked[0], "ttft_p95")
    assert after < before / 2


def test_load_counts() -> None:
    fleet = Fleet([published("a")])
    alone = first(fleet)
    times, speeds = figure(alone, "ttft_p95"), figure(alone, "throughput_p50")
    for _ in range(20):
        attempt(fleet, "a")
    assert figure(first(fleet), "ttft_p95") > 1.2 * times
    assert figure(first(fleet), "throughput_p50") < 0.95 * speeds


def test_figures_come_in_the_order_of_their_shares() -> None:
    choice = first(Fleet([published("a")]))
    times, speeds = ([figure(choice, measure) for measure in measures] for measures in (TTFTS, SPEEDS))
    assert times == sorted(times)
    assert speeds == sorted(speeds, reverse=True), "what more of the answers reach is slower"


# --- how much a preference is missed by -------------------------------------------------------------------------


def over(choice: Choice, *limits: Limit, output: float = 300.0) -> float:
    preferred = preferences(choice.state, limits)
    return seconds_over(preferred, choice.parts.size, choice.parts.pace, choice.state.load.slowed, output)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (Limit("throughput_p50", ">=", 30.0), 0.0),
        (Limit("throughput_p50", ">=", 50.0), 0.0),
        (Limit("throughput_p50", ">=", 100.0), 3.0),  # 300 tokens take 6 s, not 3
        (Limit("throughput_p90", ">=", 50.0), 6.0),  # the slowest tenth has half the speed
        (Limit("throughput_p50", "<=", 30.0), 4.0),  # 10 s were preferred
        (Limit("throughput_p50", ">=", 0.0), 0.0),
        (Limit("price.input", "<=", 0.0), 0.0),
    ],
)
def test_slow_writing_counts_in_the_seconds_that_it_takes_longer(limit: Limit, seconds: float) -> None:
    assert over(first(Fleet([published("a", speed=50.0)])), limit) == pytest.approx(seconds)


def test_what_is_missed_grows_with_load() -> None:
    fleet = Fleet([published("a", ttft=3.0, speed=50.0)])
    for _ in range(20):
        attempt(fleet, "a")
    choice = first(fleet)
    speed, p50 = (figure(choice, measure) for measure in ("throughput_p50", "ttft_p50"))  # type: ignore[arg-type]
    assert speed < 50.0
    assert over(choice, Limit("throughput_p50", ">=", 50.0)) == pytest.approx(300 / speed - 300 / 50.0)
    assert over(choice, Limit("ttft_p50", "<=", 1.0)) == pytest.approx(p50 - 1.0)


def test_a_late_first_token_counts_in_seconds_and_limits_add_up() -> None:
    choice = first(Fleet([published("a", ttft=3.0)]))
    p50, p95 = (figure(choice, measure) for measure in ("ttft_p50", "ttft_p95"))  # type: ignore[arg-type]
    half, tail = Limit("ttft_p50", "<=", p50 - 0.5), Limit("ttft_p95", "<=", p95 - 2.0)
    assert over(choice, half) == pytest.approx(0.5)
    assert over(choice, half, tail) == pytest.approx(2.5)
    assert over(choice, Limit("ttft_p50", "<=", p50 + 0.5)) == 0.0
    assert over(choice, Limit("ttft_p50", ">=", p50 + 0.5)) == pytest.approx(0.5)


# --- prefer -----------------------------------------------------------------------------------------------------

SOON = (Limit("ttft_p50", "<=", 1.0),)


def preferring(**score: Any) -> Policy:
    usual = {"value_of_time": 0.0, "failure_cost": 0.0}
    return Policy("p", prefer=SOON, score=Score(**(usual | score)), pick=Pick("best", explore=0.0))


def test_a_missed_preference_costs_dollars_and_changes_no_tier() -> None:
    fleet = Fleet([published("slow", 3.0, 0.1), published("soon", 0.5, 0.2)])
    made = plan(fleet, policy=preferring(miss_cost=3_600.0))
    soon, slow = made.ranked
    assert (ids(made), made.relaxed) == (["soon", "slow"], None)
    assert (soon.tier, slow.tier) == (Tier.GOOD, Tier.GOOD)
    assert soon.parts.miss_usd == 0.0
    assert slow.parts.miss_usd == pytest.approx(figure(slow, "ttft_p50") - 1.0), "a dollar a second"


def test_a_near_miss_is_worth_little() -> None:
    """What was a tier before: 10 ms over the limit cost any price."""
    fleet = Fleet([published("cheap", 1.4, 0.1), published("dear", 0.5, 20.0)])
    made = plan(fleet, policy=preferring())
    assert ids(made) == ["cheap", "dear"]
    assert 0 < made.ranked[0].parts.miss_usd < 0.0002


@pytest.mark.parametrize(
    ("value_of_time", "miss_cost", "usd_per_hour"),
    [(0.5, None, 5.0), (0.01, None, 1.0), (0.5, 2.0, 2.0), (0.5, 0.0, 0.0)],
)
def test_what_a_second_over_costs(value_of_time: float, miss_cost: float | None, usd_per_hour: float) -> None:
    policy = preferring(value_of_time=value_of_time, miss_cost=miss_cost)
    (choice,) = plan(Fleet([published("a", 3.0)]), policy=policy).ranked
    seconds = figure(choice, "ttft_p50") - 1.0
    assert choice.parts.miss_usd == pytest.approx(usd_per_hour / 3600 * seconds)


def test_a_preference_is_judged_by_the_prompt() -> None:
    fleet = Fleet([published("a", 1.2)])
    short, long = (plan(fleet, request(prompt_tokens=tokens), preferring()).ranked[0] for tokens in (500, 60_000))
    assert short.parts.miss_usd == 0.0
    assert long.parts.miss_usd > 0.0


times = st.floats(0.1, 20.0)
dollars = st.floats(0.01, 20.0)


@given(
    st.tuples(times, dollars),
    st.tuples(times, dollars),
    st.lists(st.builds(Limit, st.sampled_from(TTFTS), st.just("<="), times), max_size=3).map(tuple),
    st.builds(Score, value_of_time=st.floats(0.0, 50.0), miss_cost=st.one_of(st.none(), st.floats(0.0, 100.0))),
    st.integers(0, 100_000),
)
def test_a_dearer_endpoint_is_never_preferred_beyond_what_it_saves(
    one: tuple[float, float], other: tuple[float, float], prefer: tuple[Limit, ...], score: Score, prompt: int
) -> None:
    """Two that differ in price and time to first token. What a failure adds is the same for both, but for what the
    other one then costs: q of the difference in dollars and in time, the other way round."""
    fleet = Fleet([published("a", *one), published("b", *other)])
    policy = Policy("p", prefer=prefer, score=score, pick=Pick("best", explore=0.0))
    chosen, left = plan(fleet, request(prompt_tokens=prompt), policy).ranked

    dearer = chosen.parts.usd - left.parts.usd
    saved = left.parts.ttft - chosen.parts.ttft
    over_saved = sum(
        max(0.0, figure(left, limit.measure) - limit.value) - max(0.0, figure(chosen, limit.measure) - limit.value)
        for limit in prefer
    )
    goes_well = 1 - chosen.parts.fails
    assert chosen.parts.fails == left.parts.fails
    worth = score.value_of_time / 3600 * saved + score.usd_per_second_missed * over_saved / goes_well
    assert dearer <= worth + 1e-9


# --- require and slo --------------------------------------------------------------------------------------------


def test_a_required_time_drops_an_endpoint_for_the_prompts_that_miss_it() -> None:
    fleet = Fleet([published("slow", 2.0, 0.1), published("soon", 0.5, 0.2)])
    policy = replace(CHEAPEST, require=Require(limits=(Limit("ttft_p50", "<=", 2.5),)))
    assert ids(plan(fleet, request(prompt_tokens=500), policy)) == ["slow", "soon"]
    made = plan(fleet, request(prompt_tokens=16_000), policy)
    (dropped,) = made.dropped
    assert (ids(made), dropped.endpoint.id, dropped.reason.rule) == (["soon"], "slow", "ttft_p50")
    assert dropped.reason.detail.endswith(" for this prompt, needs <= 2.5")


def test_where_all_miss_what_is_required_nothing_is_left() -> None:
    policy = replace(CHEAPEST, require=Require(limits=(Limit("throughput_p50", ">=", 60.0),)))
    made = plan(Fleet([published("a"), published("b")]), policy=policy)
    assert (made.ranked, len(made.dropped), made.picked) == ((), 2, "none")


def test_an_objective_puts_behind_and_is_given_up_last() -> None:
    policy = replace(CHEAPEST, slo=(Limit("ttft_p50", "<=", 1.0),))
    made = plan(Fleet([published("slow", 3.0, 0.1), published("soon", 0.5, 0.2)]), policy=policy)
    assert ids(made) == ["soon", "slow"]
    why = made.ranked[1].why
    assert made.ranked[1].tier is Tier.MISSED_SLO
    assert why is not None
    assert why.rule == "ttft_p50"
    assert why.detail.endswith(" for this prompt, needs <= 1")
    assert plan(Fleet([published("slow", 3.0)]), policy=policy).relaxed == "missed slo"


def test_an_objective_that_is_missed_makes_nothing_better_of_one_that_is_busy() -> None:
    fleet = Fleet([published("slow", 3.0, 0.1), published("soon", 0.5, 0.2)])
    fail(fleet, attempt(fleet, "slow"), "rate_limited", NOW, retry_after=30.0)
    made = plan(fleet, policy=replace(CHEAPEST, slo=(Limit("ttft_p50", "<=", 1.0),)))
    assert [choice.tier for choice in made.ranked] == [Tier.GOOD, Tier.BUSY]
    assert made.ranked[1].why is not None
    assert made.ranked[1].why.rule == "rate limit"


def test_an_endpoint_with_few_samples_is_judged_by_what_was_published_of_it() -> None:
    policy = replace(CHEAPEST, require=Require(limits=(Limit("ttft_p50", "<=", 1.0),)))
    assert plan(Fleet([published("a", 3.0)]), policy=policy).ranked == ()
    assert ids(plan(Fleet([published("a", 0.5)]), policy=policy)) == ["a"]


def test_what_an_endpoint_does_now_counts_within_seconds() -> None:
    fleet = Fleet([published("a", 0.5)])
    policy = replace(CHEAPEST, require=Require(limits=(Limit("ttft_p95", "<=", 4.0),)))
    teach(fleet, "a", [0.5] * 30)
    assert ids(plan(fleet, policy=policy, now=NOW + 1)) == ["a"]
    for _ in range(15):
        slow = attempt(fleet, "a", now=NOW + 1)
        fleet.began(slow, NOW + 11)
        fleet.released(slow, False, NOW + 11)
    made = plan(fleet, policy=policy, now=NOW + 12)
    assert [one.reason.rule for one in made.dropped] == ["ttft_p95"]


limits = st.one_of(
    st.builds(Limit, st.sampled_from(TTFTS), st.sampled_from(["<=", "<=", ">="]), st.floats(0.1, 20.0)),
    st.builds(Limit, st.sampled_from(SPEEDS), st.sampled_from([">=", ">=", "<="]), st.floats(1.0, 100.0)),
)


@given(
    st.lists(st.tuples(st.floats(0.2, 5.0), st.floats(5.0, 100.0), st.integers(0, 15)), min_size=1, max_size=5),
    st.lists(limits, min_size=1, max_size=3).map(tuple),
    st.integers(1, 100_000),
    st.integers(0, 4),
)
def test_require_drops_exactly_those_whose_own_figure_for_this_prompt_misses(
    found: list[tuple[float, float, int]], required: tuple[Limit, ...], tokens: int, home: int
) -> None:
    """Figures worked out plainly: the endpoint's ratio, the tokens that it must read, the load that it has."""
    fleet = Fleet(published(name, ttft, 1.0, speed) for name, (ttft, speed, _) in zip("abcde", found, strict=False))
    turn = request(prompt_tokens=tokens, prefix=((1, tokens),))
    for name, (_, _, running) in zip("abcde", found, strict=False):
        for _ in range(running):
            attempt(fleet, name)
    attempt(fleet, "abcde"[home % len(found)], turn)

    made = plan(fleet, turn, replace(CHEAPEST, require=Require(limits=required)))
    open_to_all = plan(fleet, turn, CHEAPEST)

    def misses(choice: Choice, limit: Limit) -> bool:
        state, at_once = choice.state, choice.state.in_flight + 1
        if limit.measure in TTFTS:
            ratio = state.waits.quantiles[TTFTS.index(limit.measure)][size_class(choice.parts.uncached)]
            value = ratio * (scale(choice.parts.uncached) * state.waits.load.factor(at_once))
        else:
            value = state.speeds.quantiles[SPEEDS.index(limit.measure)] / state.speeds.load.factor(at_once)
        return value > limit.value if limit.operator == "<=" else value < limit.value

    assert len(TTFTS) == len(SHARES)
    late = {one.endpoint.id for one in open_to_all.ranked if any(misses(one, limit) for limit in required)}
    assert {one.endpoint.id for one in made.dropped} == late
    assert set(ids(made)) == set(fleet.states) - late


def test_the_first_limit_that_is_missed_is_the_reason() -> None:
    choice = first(Fleet([published("a", 3.0, speed=20.0)]))
    limits = (Limit("ttft_p50", "<=", 9.0), Limit("throughput_p50", ">=", 25.0), Limit("ttft_p95", "<=", 0.1))
    reason = late_for(choice.state, limits, choice.parts.size, choice.parts.pace)
    assert reason == Reason("throughput_p50", "is 20 for this prompt, needs >= 25")
