from typing import Any

import pytest
from msgspec import to_builtins

from gateway.api import openrouter_models as described
from gateway.api.openrouter_models import DEGRADED, OK
from gateway.route.endpoint_state import EndpointState
from gateway.route.fleet import Fleet
from gateway.telemetry.archive import Uptime
from gateway.types import Dialect, Endpoint, Model, Price, Reasoning
from gateway.types.endpoint import ThinkingSwitch
from gateway.types.price import PriceTier, Window


def described_model(*args: Any) -> Any:
    return to_builtins(described.described_model(*args))


def described_endpoint(*args: Any) -> Any:
    return to_builtins(described.described_endpoint(*args))


def test_prices_that_depend() -> None:
    price = Price(0.28, 0.42, tiers=(PriceTier(32_768, 0.56, 0.84, 0.056),), hours=(Window(16, 0, 0.14, 0.21),))
    endpoint = Endpoint("a/b", "a", "http://a", "m", price=price)
    model = described_model(Model("x/y", "Y", 1_000, (endpoint,), aliases=("y",)), [endpoint])
    assert model["pricing"]["overrides"] == [
        {"utc_start": 1600, "utc_end": 0, "prompt": "0.00000014", "completion": "0.00000021"},
        {
            "min_prompt_tokens": 32_768,
            "prompt": "0.00000056",
            "completion": "0.00000084",
            "input_cache_read": "0.000000056",
        },
    ]


def test_a_model_without_endpoints_has_no_price() -> None:
    model = described_model(Model("x/y", "Y", 1_000, ()), [])
    assert model["pricing"] == {"prompt": "-1", "completion": "-1"}
    assert model["top_provider"]["context_length"] is None


@pytest.mark.parametrize(
    ("thinking", "reasoning", "told"),
    [
        ("unknown", Reasoning(), None),
        ("thinking.type", Reasoning(), {"mandatory": False, "default_enabled": False}),
        ("unknown", Reasoning(default_enabled=True), {"mandatory": False, "default_enabled": True}),
    ],
)
def test_only_a_model_that_thinks_says_how(
    thinking: ThinkingSwitch, reasoning: Reasoning, told: dict[str, bool] | None
) -> None:
    endpoint = Endpoint("a/b", "a", "http://a", "m", dialect=Dialect(thinking))
    model = described_model(Model("x/y", "Y", 1_000, (endpoint,), reasoning=reasoning), [endpoint])
    assert model.get("reasoning") == told
    assert ("reasoning" in model["supported_parameters"]) == (thinking != "unknown")


def test_latency_is_in_milliseconds_and_throughput_in_tokens_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("a/b", "a", "http://a", "m", price=Price(0.28, 0.42))
    state = Fleet([endpoint]).states["a/b"]
    figures = {"ttft_p50": 0.25, "ttft_p99": 1.5, "throughput_p50": 40.0, "throughput_p99": None}
    monkeypatch.setattr(EndpointState, "figures", figures)
    told = described_endpoint(Model("x/y", "Y", 1_000, (endpoint,)), state, Uptime(), [], 0.0)
    assert told["latency_last_30m"] == {"p50": 250.0, "p99": 1500.0}
    assert told["throughput_last_30m"] == {"p50": 40.0}


def test_an_endpoint_is_well_until_its_breaker_opens_or_it_asks_to_wait() -> None:
    model = Model("x/y", "Y", 1_000, ())
    state = Fleet([Endpoint("a/b", "a", "http://a", "m", price=Price(0.28, 0.42))]).states["a/b"]
    assert described_endpoint(model, state, Uptime(), [], 0.0)["status"] == OK
    state.breaker.trip(0.0, 0.0, "server")
    half_open = state.breaker.opens_until()
    assert described_endpoint(model, state, Uptime(), [], half_open - 1)["status"] == DEGRADED
    assert described_endpoint(model, state, Uptime(), [], half_open)["status"] == DEGRADED
    state = Fleet([Endpoint("a/b", "a", "http://a", "m", price=Price(0.28, 0.42))]).states["a/b"]
    state.held_until = 20.0
    told = [described_endpoint(model, state, Uptime(), [], now)["status"] for now in (19.9, 20.0)]
    assert told == [DEGRADED, OK]


def test_a_model_is_described_by_its_cheapest_endpoint_in_use() -> None:
    """Without one in use, by those that are not retired."""
    dear = Endpoint("a/b", "a", "http://a", "m", price=Price(0.3, 0.5), context=9_000)
    cheap = Endpoint("b/b", "b", "http://b", "m", price=Price(0.4, 0.3, cache_write=0.5), context=8_000, max_output=70)
    unpriced = Endpoint("c/b", "c", "http://c", "m", context=7_000, supports=("seed",))
    retired = Endpoint("d/b", "d", "http://d", "m", price=Price(0.1, 0.1), context=6_000, status="retired")
    model = Model("x/y", "Y", 9_000, (dear, cheap, unpriced, retired), aliases=("y", "x/y-20251201"))
    for used in ([dear, cheap, unpriced], []):
        told = described_model(model, used)
        assert told["pricing"] == {
            "prompt": "0.0000004",
            "completion": "0.0000003",
            "discount": 0,
            "input_cache_write": "0.0000005",
        }
        assert (told["top_provider"]["context_length"], told["top_provider"]["max_completion_tokens"]) == (8_000, 70)
        assert "seed" in told["supported_parameters"]
        assert (told["canonical_slug"], told["architecture"]["tokenizer"]) == ("x/y-20251201", "Other")
    assert described_model(model, [dear])["top_provider"]["context_length"] == 9_000
    assert described_model(model, [unpriced])["pricing"] == {"prompt": "-1", "completion": "-1"}
