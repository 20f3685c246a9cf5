"""The shipped policies keep the promise of their names."""

import pytest

from gateway.config import load
from gateway.policy.load import Policies
from gateway.types import Limit, Policy

POLICIES = Policies().current
DEFAULT = Policy("default")


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_recipe_says_what_it_is_for(name: str) -> None:
    assert POLICIES[name].about.endswith(".")


def test_balanced_writes_out_the_defaults() -> None:
    balanced = POLICIES["balanced"]
    assert balanced.prefer == (Limit("uptime_5m", ">=", 0.8), Limit("ttft_p95", "<=", 4.0))
    for name in Policy.__dataclass_fields__.keys() - {"name", "about", "prefer"}:
        assert getattr(balanced, name) == getattr(DEFAULT, name), name


def test_floor_and_nitro_are_the_ends_of_the_dial() -> None:
    values = sorted(policy.score.value_of_time for policy in POLICIES.values())
    assert POLICIES["floor"].score.value_of_time == values[0] == 0
    assert POLICIES["nitro"].score.value_of_time == values[-1] >= 50


def test_exacto_ranks_by_tool_calls() -> None:
    exacto = POLICIES["exacto"]
    assert [limit.measure for limit in exacto.require.limits] == ["tools_ok"]
    assert exacto.score.quality_cost > 0
    assert exacto.pick.how == "best"


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
