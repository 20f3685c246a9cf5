"""What a choice is expected to cost above the best one, and to what that is due."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.fleet import Fleet
from gateway.route.plan import regret
from gateway.types import Cap, Limit, Pick, Policy, Price, Priors, Require, Score
from tests.route.world import CHEAPEST, attempt, endpoint, fail, plan, priced, request, saved, try_of

CHEAP = Score(value_of_time=0.0)
SAMPLE = replace(CHEAPEST, pick=Pick("sample", edge=1.0, explore=0.0))


def test_the_best_is_not_regretted() -> None:
    assert regret(plan(priced(a=1.0, b=1.5), policy=SAMPLE, chance=lambda: 0.0)) == (0.0, "")


def test_a_draw_costs_the_difference_of_the_scores() -> None:
    drawn = plan(priced(a=1.0, b=1.5), policy=SAMPLE, chance=lambda: 0.999)
    first, second = drawn.ranked
    assert (first.endpoint.id, second.endpoint.id) == ("b", "a")
    assert regret(drawn) == (first.score - second.score, "sample")


def test_trying_another_costs_too() -> None:
    policy = replace(SAMPLE, pick=Pick("best", explore=1.0))
    tried = plan(saved(priced(a=1.0, b=1.1), policy), policy=policy, chance=lambda: 0.999)
    usd, reason = regret(tried)
    assert tried.picked == reason == "explore"
    assert usd == tried.ranked[0].score - tried.ranked[1].score > 0


def test_a_conversation_that_stays_is_not_regretted() -> None:
    """It goes to the best score, which counts what leaving would cost."""
    two, turn = priced(a=1.0, b=1.0), request(prefix=((1, 900),))
    attempt(two, "b", turn)
    stays = plan(two, turn, SAMPLE, chance=lambda: 0.999)
    assert stays.picked == "stays"
    assert regret(stays) == (0.0, "")


def test_what_a_limit_on_latency_rules_out_is_not_eligible() -> None:
    two = Fleet(
        [
            endpoint("a", price=Price(1.0, 1.0), priors=Priors(ttft_p50=9.0)),
            endpoint("b", price=Price(2.0, 2.0), priors=Priors(ttft_p50=1.0)),
        ]
    )
    soon = (Limit("ttft_p50", "<=", 5.0),)
    for policy in (replace(SAMPLE, slo=soon), replace(SAMPLE, require=Require(limits=soon))):
        late = plan(two, policy=policy)
        assert late.ranked[0].endpoint.id == "b"
        assert regret(late) == (0.0, "")


def test_a_worse_tier_is_not_eligible() -> None:
    """The cheaper endpoint asked to wait: nothing was given up that could be had."""
    two = priced(a=1.0, b=1.5)
    fail(two, attempt(two, "a"), "rate_limited", 1_000.0, retry_after=30.0)
    busy = plan(two, policy=SAMPLE)
    assert busy.ranked[0].endpoint.id == "b"
    assert regret(busy) == (0.0, "")


def test_an_order_is_not_a_choice_by_score() -> None:
    policy = replace(SAMPLE, pick=Pick("order", order=("b",)))
    assert regret(plan(priced(a=1.0, b=1.5), policy=policy)) == (0.0, "")


def test_nothing_left_is_nothing_regretted() -> None:
    assert regret(plan(Fleet(), policy=SAMPLE)) == (0.0, "")


def test_one_that_is_above_its_share_is_the_caps_regret() -> None:
    capped = replace(CHEAPEST, cap=Cap(share=0.5))
    two = priced(a=1.0, b=1.5)
    for _ in range(200):
        asked = request(prompt_tokens=100_000)
        decided = plan(two, asked, capped)
        if decided.ranked[0].endpoint.id == "b":
            break
        two.sent(try_of(decided, asked), 1_000.0)
    usd, reason = regret(decided)
    assert reason == "cap"
    assert usd == pytest.approx(0.05, rel=0.2), "100,000 tokens at half a dollar more"


@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=6),
    st.sampled_from(["sample", "best"]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 0.999),
    st.booleans(),
)
def test_regret_is_never_negative_and_has_a_reason(
    prices: list[float], how: str, explore: float, chance: float, cap: bool
) -> None:
    policy = Policy("p", pick=Pick(how, 1.0, explore), cap=Cap(share=0.4 if cap else 1.0))  # type: ignore[arg-type]
    fleet = priced(**dict(zip("abcdef", prices, strict=False)))
    if explore:
        saved(fleet, policy)
    usd, reason = regret(plan(fleet, policy=policy, chance=lambda: chance))
    assert usd >= 0
    assert bool(usd) == bool(reason)
