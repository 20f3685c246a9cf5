"""Dollars and seconds, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.route.cost import Demand, Parts, expect, score
from gateway.route.endpoint import EndpointState
from gateway.types import Policy, Price, Priors, Score, Tier, Window
from tests.route.world import NOW, endpoint, fresh

DEMAND = Demand(prompt_tokens=10_000, output_tokens=500, longest_output=5_000, hour=12, tools=False)
PRICE = Price(input=0.30, output=0.60, cached_input=0.10)
PRIORS = Priors(ttft_p50=1.0, throughput_p50=50.0, uptime=0.98)
FREE_TIME = Policy("p", score=Score(value_of_time=0.0, failure_cost=0.0))


def state(price: Price = PRICE, confirm: float = 1.0) -> EndpointState:
    made = EndpointState(endpoint(price=price, priors=PRIORS))
    made.confirm = confirm
    return made


def parts(**changes: Any) -> Parts:
    return expect(state(), DEMAND, 0, FREE_TIME)._replace(**changes)


def test_without_a_match_everything_is_paid_in_full() -> None:
    found = expect(state(), DEMAND, 0, FREE_TIME)
    assert found.input_usd == pytest.approx(0.003)
    assert found.output_usd == pytest.approx(0.0003)
    assert (found.hit, found.uncached) == (0.0, 10_000)


def test_a_match_is_paid_at_the_cached_price_as_far_as_it_is_confirmed() -> None:
    found = expect(state(confirm=0.5), DEMAND, 8_000, FREE_TIME)
    assert found.hit == pytest.approx(0.4)
    assert found.input_usd == pytest.approx((6_000 * 0.30 + 4_000 * 0.10) / 1e6)


def test_a_list_price_policy_ignores_what_caching_saves() -> None:
    policy = replace(FREE_TIME, score=Score(price="list"))
    assert expect(state(), DEMAND, 8_000, policy).input_usd == pytest.approx(0.003)


def test_a_match_is_never_more_than_the_prompt() -> None:
    assert expect(state(), DEMAND, 50_000, FREE_TIME).hit == 1.0


def test_an_empty_prompt_has_no_share() -> None:
    assert expect(state(), DEMAND._replace(prompt_tokens=0), 100, FREE_TIME).hit == 0.0


def test_prices_follow_prompt_size_and_hour() -> None:
    price = replace(PRICE, tiers=(Tier(20_000, 0.9, 1.8),), hours=(Window(22, 6, 0.15, 0.3),))
    assert expect(state(price), DEMAND._replace(hour=23), 0, FREE_TIME).input_usd == pytest.approx(0.0015)
    assert expect(state(price), DEMAND._replace(prompt_tokens=30_000), 0, FREE_TIME).input_usd == pytest.approx(0.027)


def test_cached_tokens_need_no_time() -> None:
    cold, warm = (expect(state(), DEMAND, matched, FREE_TIME) for matched in (0, 9_000))
    assert (cold.size, warm.size) == (2, 0)
    assert (cold.ttft, warm.ttft) == (2.0, 1.0)
    assert warm.seconds == pytest.approx(1.0 + 500 / 50)


def test_failures_are_expected_as_often_as_they_happen() -> None:
    failing = state()
    for _ in range(30):
        failing.ended(False, NOW)
    assert expect(state(), DEMAND, 0, FREE_TIME).fails == pytest.approx(0.02)
    assert expect(fresh(failing, NOW), DEMAND, 0, FREE_TIME).fails > 0.7


def test_bad_tool_calls_cost_only_where_tools_are_asked_for() -> None:
    policy = Policy("p", score=Score(quality_cost=0.05))
    assert expect(state(), DEMAND, 0, policy).quality_usd == 0
    assert expect(state(), DEMAND._replace(tools=True), 0, policy).quality_usd == pytest.approx(0.1 * 0.05)


def test_an_endpoint_that_never_fails_costs_what_it_costs() -> None:
    sure = parts(fails=0.0, input_usd=0.003, output_usd=0.001)
    assert score(sure, parts(input_usd=9.0), FREE_TIME) == pytest.approx(0.004)


def test_a_failure_costs_its_penalty_and_the_next_best() -> None:
    policy = replace(FREE_TIME, score=Score(value_of_time=0.0, failure_cost=0.002))
    risky, other = parts(fails=0.5, input_usd=0.003, output_usd=0.001), parts(input_usd=0.005, output_usd=0.001)
    assert score(risky, other, policy) == pytest.approx(0.004 + 0.5 * (0.002 + 0.006))


def test_time_is_worth_money() -> None:
    policy = replace(FREE_TIME, score=Score(value_of_time=3.6, failure_cost=0.0))  # 0.1 cents a second
    slow = parts(fails=0.1, ttft=2.0, seconds=10.0, input_usd=0.0, output_usd=0.0)
    other = parts(seconds=20.0, input_usd=0.0, output_usd=0.0)
    assert score(slow, other, policy) == pytest.approx(0.001 * (0.9 * 10 + 0.1 * (2 + 20)))
