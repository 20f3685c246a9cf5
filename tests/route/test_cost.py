"""Dollars and seconds, worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from gateway.route.cost import HOUR, Demand, Parts, scores
from gateway.route.endpoint_state import EndpointState, Load
from gateway.types import Limit, Policy, Price, PriceTier, Priors, PromptCache, Score, Window
from tests.route import world
from tests.route.world import NOW, endpoint, fresh, seconds

DEMAND = Demand(prompt_tokens=10_000, output_tokens=500, longest_output=5_000, hour=12, tools=False)
PRICE = Price(input=0.30, output=0.60, cached_input=0.10)
PRIORS = Priors(ttft_p50=1.0, throughput_p50=50.0, uptime=0.98)
FREE_TIME = Policy("p", score=Score(value_of_time=0.0, failure_cost=0.0))


def state(price: Price = PRICE, hit_rate: float = 1.0) -> EndpointState:
    made = EndpointState(endpoint(price=price, priors=PRIORS))
    made.hit_rate = hit_rate
    return made


def expected(
    of: EndpointState, demand: Demand = DEMAND, matched: int = 0, policy: Policy = FREE_TIME, toll: float = 0.0
) -> Parts:
    return world.expected(of, policy, demand, matched, toll)


def parts(policy: Policy = FREE_TIME, **changes: Any) -> Parts:
    made = changed(expected(state()), **changes)
    return changed(made, plain=made.usd + policy.score.value_of_time / HOUR * made.seconds)


def scored(*ones: Parts, policy: Policy) -> list[float]:
    per_second = policy.score.value_of_time / HOUR
    base = [one.usd + per_second * one.seconds for one in ones]
    risks = [(one.fails, one.fails * per_second * (one.seconds - one.ttft)) for one in ones]
    return scores([one.plain for one in ones], risks, base.__getitem__, policy.score.failure_cost)


def test_without_a_match_everything_is_paid_in_full() -> None:
    found = expected(state())
    assert found.input_usd == pytest.approx(0.003)
    assert found.output_usd == pytest.approx(0.0003)
    assert (found.hit, found.uncached) == (0.0, 10_000)


def test_a_match_is_paid_at_the_cached_price_as_far_as_it_is_confirmed() -> None:
    found = expected(state(hit_rate=0.5), matched=8_000)
    assert found.hit == pytest.approx(0.4)
    assert found.input_usd == pytest.approx((6_000 * 0.30 + 4_000 * 0.10) / 1e6)


def test_a_list_price_policy_ignores_what_caching_saves() -> None:
    policy = replace(FREE_TIME, score=Score(price="list"))
    assert expected(state(), matched=8_000, policy=policy).input_usd == pytest.approx(0.003)


def test_the_next_turns_will_pay_for_this_prompt_at_the_cached_price_as_far_as_it_is_confirmed() -> None:
    read_again = changed(DEMAND, rereads=2.0)
    found = expected(state(hit_rate=0.5), read_again, matched=8_000)
    assert found.reread_usd == pytest.approx(2 * 10_000 * (0.5 * 0.30 + 0.5 * 0.10) / 1e6)
    assert found.plain == pytest.approx(found.usd + found.reread_usd)
    assert expected(state(), read_again).reread_usd == pytest.approx(2 * 10_000 * 0.10 / 1e6)


def test_where_there_is_no_cache_they_will_pay_in_full() -> None:
    uncached = EndpointState(endpoint(price=PRICE, cache=PromptCache(automatic=False)))
    assert expected(uncached, changed(DEMAND, rereads=1.0)).reread_usd == pytest.approx(0.003)


def test_a_toll_is_paid_for_every_token() -> None:
    found = expected(state(), toll=1e-7)
    assert found.toll_usd == pytest.approx(0.00105)
    assert found.plain == pytest.approx(found.usd + found.toll_usd)
    assert found.time_usd == pytest.approx(0.0, abs=1e-12), "a toll is no time"


def test_a_match_is_never_more_than_the_prompt() -> None:
    assert expected(state(), matched=50_000).hit == 1.0


def test_an_empty_prompt_has_no_share() -> None:
    assert expected(state(), changed(DEMAND, prompt_tokens=0), 100).hit == 0.0


def test_prices_follow_prompt_size_and_hour() -> None:
    price = replace(PRICE, tiers=(PriceTier(20_000, 0.9, 1.8),), hours=(Window(22, 6, 0.15, 0.3),))
    assert expected(state(price), changed(DEMAND, hour=23)).input_usd == pytest.approx(0.0015)
    assert expected(state(price), changed(DEMAND, prompt_tokens=30_000)).input_usd == pytest.approx(0.027)


def test_cached_tokens_need_no_time() -> None:
    cold, warm = (expected(state(), matched=matched) for matched in (0, 9_000))
    assert (cold.size, warm.size) == (2, 0)
    known = state()
    assert cold.ttft == pytest.approx(seconds(known.waits.mean, 10_000))
    assert warm.ttft == pytest.approx(seconds(known.waits.mean, 1_000))
    assert cold.ttft > 2 * warm.ttft
    assert warm.seconds == pytest.approx(warm.ttft + 500 * known.speeds.token_s)


def test_load_takes_its_time() -> None:
    busy = state()
    busy.load = Load(2.0, 1.5)
    alone, crowded = expected(state()), expected(busy)
    assert crowded.ttft == pytest.approx(2 * alone.ttft)
    assert crowded.seconds == pytest.approx(crowded.ttft + 1.5 * (alone.seconds - alone.ttft))


@pytest.mark.parametrize(
    ("limit", "over"),
    [
        (Limit("ttft_p50", "<=", 1.0), lambda of: seconds(of.waits.p50, 10_000) - 1.0),
        (Limit("ttft_p50", "<=", 9.0), lambda of: 0.0),
        (Limit("throughput_p50", ">=", 100.0), lambda of: 500 / 50 - 500 / 100),
        (Limit("throughput_p50", ">=", 40.0), lambda of: 0.0),
    ],
)
def test_seconds_over_a_preferred_latency_cost_money(limit: Limit, over: Callable[[EndpointState], float]) -> None:
    policy = Policy("p", prefer=(limit,), score=Score(value_of_time=0.0, miss_cost=36.0))
    found = expected(state(), policy=policy)
    assert found.miss_usd == pytest.approx(0.01 * over(state()))
    assert found.plain == pytest.approx(found.usd + found.miss_usd)
    assert found.time_usd == pytest.approx(found.miss_usd)


def test_failures_are_expected_as_often_as_they_happen() -> None:
    failing = state()
    for _ in range(30):
        failing.ended(False, NOW)
    assert expected(state()).fails == pytest.approx(0.02)
    assert expected(fresh(failing, NOW)).fails > 0.7


def test_bad_tool_calls_cost_only_where_tools_are_requested() -> None:
    policy = Policy("p", score=Score(quality_cost=0.05))
    assert expected(state(), policy=policy).quality_usd == 0
    assert expected(state(), changed(DEMAND, tools=True), policy=policy).quality_usd == pytest.approx(0.1 * 0.05)


def test_an_endpoint_that_never_fails_costs_what_it_costs() -> None:
    sure = parts(fails=0.0, input_usd=0.003, output_usd=0.001)
    assert scored(sure, parts(input_usd=9.0), policy=FREE_TIME)[0] == pytest.approx(0.004)


def test_a_failure_costs_its_penalty_and_the_next_best() -> None:
    policy = replace(FREE_TIME, score=Score(value_of_time=0.0, failure_cost=0.002))
    risky, other = parts(fails=0.5, input_usd=0.003, output_usd=0.001), parts(input_usd=0.005, output_usd=0.001)
    assert scored(risky, other, policy=policy)[0] == pytest.approx(0.004 + 0.5 * (0.002 + 0.006))


def test_time_is_worth_money() -> None:
    policy = replace(FREE_TIME, score=Score(value_of_time=3.6, failure_cost=0.0))  # 0.1 cents a second
    slow = parts(policy, fails=0.1, ttft=2.0, seconds=10.0, input_usd=0.0, output_usd=0.0)
    other = parts(policy, seconds=20.0, input_usd=0.0, output_usd=0.0)
    assert scored(slow, other, policy=policy)[0] == pytest.approx(0.001 * (0.9 * 10 + 0.1 * (2 + 20)))
