"""Usage: every host's shape is read, money is exact, and clients get one shape."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import Price, PriceTier, Usage, Window
from gateway.types.endpoint import Cancel
from gateway.upstream.usage import billed_share, cost, read_usage, usage_object

NOVITA = Price(input=0.269, cached_input=0.1345, output=0.40)

READ: dict[str, tuple[Any, Usage]] = {
    "deepseek": (
        {
            "prompt_tokens": 339,
            "completion_tokens": 83,
            "total_tokens": 422,
            "prompt_tokens_details": {"cached_tokens": 320},
            "completion_tokens_details": {"reasoning_tokens": 39},
            "prompt_cache_hit_tokens": 320,
            "prompt_cache_miss_tokens": 19,
        },
        Usage(339, 320, 83, 39, "host"),
    ),
    "deepseek, hits only": (
        {"prompt_tokens": 339, "completion_tokens": 83, "prompt_cache_hit_tokens": 320},
        Usage(339, 320, 83, 0, "host"),
    ),
    "openai-style hosts": (
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 64}},
        Usage(100, 64, 5, 0, "host"),
    ),
    "azure: null details, reasoning at the top": (
        {"prompt_tokens": 10, "completion_tokens": 8, "prompt_tokens_details": None, "reasoning_tokens": 6},
        Usage(10, 0, 8, 6, "host"),
    ),
    "cached at the top": (
        {"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 96},
        Usage(100, 96, 5, 0, "host"),
    ),
    "one name filled, another zero": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 0},
            "cached_tokens": 96,
        },
        Usage(100, 96, 5, 0, "host"),
    ),
    "more cached than sent": (
        {"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 128},
        Usage(100, 100, 5, 0, "host"),
    ),
    "more reasoning than output": (
        {"prompt_tokens": 1, "completion_tokens": 5, "reasoning_tokens": 9},
        Usage(1, 0, 5, 5, "host"),
    ),
    "half of a surrogate pair": (
        {"\ud800": 1, "prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"\ud800": "\ud800"}},
        Usage(7, 0, 5, 0, "host"),
    ),
    "negative": ({"prompt_tokens": -3, "completion_tokens": 5}, Usage(0, 0, 5, 0, "host")),
    "prompt only": ({"prompt_tokens": 7}, Usage(7, 0, 0, 0, "host")),
    "strings": ({"prompt_tokens": "12", "completion_tokens": "5"}, Usage()),
    "bools": ({"prompt_tokens": True, "completion_tokens": False}, Usage()),
    "nulls": ({"prompt_tokens": None, "completion_tokens": None}, Usage()),
    "empty": ({}, Usage()),
    "null": (None, Usage()),
    "a list": ([1, 2], Usage()),
}


@pytest.mark.parametrize(("payload", "expected"), READ.values(), ids=READ)
def test_every_hosts_shape_is_read(payload: Any, expected: Usage) -> None:
    assert read_usage(payload) == expected


NAMES = ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "prompt_cache_hit_tokens"]
JUNK = st.one_of(st.none(), st.booleans(), st.integers(-100, 10_000_000), st.floats(), st.text(max_size=3))
DETAILS = st.dictionaries(st.sampled_from(NAMES), JUNK)
PAYLOADS = st.dictionaries(
    st.sampled_from([*NAMES, "prompt_tokens_details", "completion_tokens_details"]), JUNK | DETAILS
)


@given(PAYLOADS)
def test_parts_never_exceed_their_whole(payload: dict[str, Any]) -> None:
    usage = read_usage(payload)
    assert 0 <= usage.cached <= usage.prompt
    assert 0 <= usage.reasoning <= usage.completion


def test_cost_is_exact_in_picodollars() -> None:
    usage = Usage(prompt=1_000_000, cached=400_000, completion=500_000, source="host")
    assert cost(usage, NOVITA, hour=0) == (600_000 * 269_000) + (400_000 * 134_500) + (500_000 * 400_000)


def test_a_host_without_a_cached_price_gives_no_discount() -> None:
    price = Price(input=0.5, output=1.6)
    assert cost(Usage(100, 90, 0), price, hour=0) == cost(Usage(100, 0, 0), price, hour=0) == 100 * 500_000


def test_tiers_and_hours_are_priced() -> None:
    tiered = Price(input=0.28, output=0.42, tiers=(PriceTier(32_768, input=0.56, output=0.84),))
    assert cost(Usage(prompt=32_768), tiered, hour=0) == 32_768 * 280_000
    assert cost(Usage(prompt=32_769), tiered, hour=0) == 32_769 * 560_000
    by_hour = Price(input=0.28, output=0.42, hours=(Window(16, 0, input=0.14, output=0.21),))
    assert cost(Usage(prompt=1), by_hour, hour=15) == 280_000
    assert cost(Usage(prompt=1), by_hour, hour=17) == 140_000


TOKENS = st.integers(0, 10_000_000)


@given(prompt=TOKENS, cached=TOKENS, completion=TOKENS, more=TOKENS)
def test_cost_adds_up_and_never_falls_with_output(prompt: int, cached: int, completion: int, more: int) -> None:
    hit = min(cached, prompt)
    less = cost(Usage(prompt, hit, completion), NOVITA, hour=3)
    assert 0 <= less <= cost(Usage(prompt, 0, completion), NOVITA, hour=3)
    assert cost(Usage(prompt, hit, completion + more), NOVITA, hour=3) == less + cost(Usage(0, 0, more), NOVITA, hour=3)


def test_clients_get_every_name_they_know() -> None:
    usage = Usage(339, 320, 83, 39, "host")
    assert usage_object(usage, cost=43_180_000) == {
        "prompt_tokens": 339,
        "completion_tokens": 83,
        "total_tokens": 422,
        "cost": 0.00004318,
        "prompt_tokens_details": {"cached_tokens": 320},
        "completion_tokens_details": {"reasoning_tokens": 39},
        "prompt_cache_hit_tokens": 320,
        "prompt_cache_miss_tokens": 19,
    }


@given(prompt=TOKENS, cached=TOKENS, completion=TOKENS, reasoning=TOKENS)
def test_what_clients_get_reads_back_as_the_same_usage(
    prompt: int, cached: int, completion: int, reasoning: int
) -> None:
    usage = Usage(prompt, min(cached, prompt), completion, min(reasoning, completion), "host")
    assert read_usage(usage_object(usage, cost=0)) == usage


def test_a_count_that_is_missing_beside_another_is_zero() -> None:
    assert read_usage({"prompt_tokens": 7}) == Usage(7, 0, 0, 0, source="host")
    assert read_usage({"completion_tokens": 7, "prompt_tokens": None}) == Usage(0, 0, 7, 0, source="host")


def test_an_absurd_count_is_none() -> None:
    assert read_usage({"prompt_tokens": 10**15, "completion_tokens": 3}) == Usage(0, 0, 3, 0, source="host")


@pytest.mark.parametrize(
    ("habit", "cancelled", "lost"), [("stops", 0.0, 0.25), ("unknown", 0.25, 0.25), ("bills", 1.0, 1.0)]
)
def test_what_hosts_bill_of_an_answer_that_was_never_seen(habit: Cancel, cancelled: float, lost: float) -> None:
    assert billed_share(habit, streams=True, cut_off=True) == cancelled
    assert billed_share(habit, streams=True, cut_off=False) == lost
    assert billed_share(habit, streams=False, cut_off=True) == 1.0, "it may have been writing"
    assert billed_share(habit, streams=False, cut_off=False) == lost
