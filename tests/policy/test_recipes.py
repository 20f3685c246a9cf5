"""The shipped policies keep the promise of their names."""

from dataclasses import replace

import pytest

from gateway.config import load
from gateway.policy.policies import Policies
from gateway.types import Delay, Hedge, Limit, Policy

POLICIES = Policies().current
DEFAULT = Policy("default")


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_recipe_says_what_it_is_for(name: str) -> None:
    assert POLICIES[name].about.endswith(".")


def test_balanced_writes_out_the_defaults() -> None:
    balanced = POLICIES["balanced"]
    assert balanced.prefer == (Limit("ttft_p95", "<=", 8.0),)
    assert balanced.hedge == Hedge(Delay(quantile=0.97), 0.03, 0.005)
    assert balanced.score.usd_per_second_missed == DEFAULT.score.usd_per_second_missed
    assert replace(balanced.score, miss_cost=None) == DEFAULT.score
    for name in Policy.__dataclass_fields__.keys() - {"name", "about", "prefer", "hedge", "score"}:
        assert getattr(balanced, name) == getattr(DEFAULT, name), name


def test_who_prefers_a_latency_prices_each_second_over_it() -> None:
    for policy in POLICIES.values():
        if policy.prefer:
            assert policy.score.usd_per_second_missed > policy.score.value_of_time / 3600


def test_who_waits_for_tokens_may_hedge() -> None:
    hedging = {name for name, policy in POLICIES.items() if policy.hedge.after != Delay()}
    assert hedging == {"balanced", "nitro", "interactive"}


def test_floor_and_nitro_are_the_ends_of_the_dial() -> None:
    values = sorted(policy.score.value_of_time for policy in POLICIES.values())
    assert POLICIES["floor"].score.value_of_time == values[0] == 0
    assert POLICIES["nitro"].score.value_of_time == values[-1] >= 50


def test_exacto_ranks_by_tool_calls() -> None:
    exacto = POLICIES["exacto"]
    assert [limit.measure for limit in exacto.slo] == ["tools_ok"]
    assert not exacto.constrains_endpoints, "it sorts, and fails nothing"
    assert exacto.score.quality_cost > 0
    assert exacto.pick.how == "best"


def test_slo_minimises_cost_alone_within_its_objectives() -> None:
    slo = POLICIES["slo"]
    assert slo.slo == (Limit("ttft_p95", "<=", 2.0), Limit("throughput_p50", ">=", 30.0))
    assert (slo.score.value_of_time, slo.pick.how) == (0.0, "best")


def test_only_spread_has_a_cap_and_is_a_floor_otherwise() -> None:
    assert [name for name, policy in POLICIES.items() if policy.cap.share < 1] == ["spread"]
    same = {"score", "pick", "attempts", "timeouts", "prefer", "require"}
    assert all(getattr(POLICIES["spread"], name) == getattr(POLICIES["floor"], name) for name in same)


def test_only_cached_caches() -> None:
    assert [name for name, policy in POLICIES.items() if policy.cache.ttl] == ["cached"]


def test_private_demands_both_declarations() -> None:
    require = POLICIES["private"].require
    assert (require.zdr, require.no_training) == (True, True)


def test_fp8_only_accepts_nothing_below() -> None:
    assert not {"unknown", "fp4", "nvfp4", "mxfp4", "int4"} & set(POLICIES["fp8-only"].require.quantization)


def test_interactive_gives_up_sooner_than_balanced() -> None:
    interactive = POLICIES["interactive"]
    assert interactive.timeouts.first_token < DEFAULT.timeouts.first_token
    assert interactive.attempts.within < DEFAULT.attempts.within


def test_long_context_fits_endpoints_of_the_catalogue() -> None:
    (limit,) = POLICIES["long-context"].require.limits
    assert sum(endpoint.context >= limit.value for endpoint in load(None, {}).models[0].endpoints) >= 5


def test_budget_leaves_endpoints_of_the_catalogue() -> None:
    most = {limit.measure: limit.value for limit in POLICIES["budget"].require.limits}
    prices = [endpoint.price for endpoint in load(None, {}).models[0].endpoints if endpoint.price]
    within = [p for p in prices if p.input <= most["price.input"] and p.output <= most["price.output"]]
    assert 5 <= len(within) < len(prices)


def test_pinned_names_an_endpoint_of_the_catalogue() -> None:
    endpoints = {endpoint.id for endpoint in load(None, {}).models[0].endpoints}
    assert POLICIES["pinned"].pick.endpoint in endpoints
    assert POLICIES["pinned"].attempts.max == 1
