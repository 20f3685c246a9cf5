"""A host's JSON becomes the JSON that OpenRouter's clients read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.surface.answer import shape_of
from gateway.surface.openrouter.shape import OpenRouterShape, provider_name
from gateway.types import PICO, REASONING_FIELDS, Endpoint, Price, Request, Usage, Window
from gateway.upstream.shape import MOST_HIDDEN, OPENAI, Hiding, OpenAIShape, Shape
from gateway.upstream.usage import cost

PRICE = Price(0.2, 0.4, 0.1, hours=(Window(0, 12, 0.1, 0.2),))
ENDPOINT = Endpoint("novita/fp8", "novita", "http://127.0.0.1:1", "m", name="Novita", price=PRICE)
REQUEST = Request(
    id="gen-1", body={}, model="deepseek/deepseek-v3.2", policy="balanced", surface="openrouter", created=7
)
HEAD = {
    "id": "gen-1",
    "object": "chat.completion.chunk",
    "created": 7,
    "model": "deepseek/deepseek-v3.2",
    "provider": "Novita",
}
SHAPE = OpenRouterShape(REQUEST, ENDPOINT, 0.0)


def delta(**said: Any) -> dict[str, Any]:
    found: dict[str, Any] = SHAPE.chunk({"choices": [{"index": 0, "delta": said}]})["choices"][0]["delta"]
    return found


def test_each_surface_has_its_shape() -> None:
    assert isinstance(shape_of(Request("gen-1", {}, "m", "p"), ENDPOINT, 0.0), OpenAIShape)
    assert isinstance(shape_of(Request("gen-1", {}, "m", "p", hides_reasoning=True), ENDPOINT, 0.0), Hiding)
    assert repr(shape_of(REQUEST, ENDPOINT, 0.0)) == "<OpenRouter gen-1 Novita>"
    assert provider_name(Endpoint("a/fp8", "a", None, None)) == "a"


def test_a_chunk_has_our_head_and_nothing_else_of_the_hosts() -> None:
    payload = {"id": "x", "created": 1, "model": "m", "system_fingerprint": "fp", "usage": {"prompt_tokens": 1}}
    assert SHAPE.chunk({**payload, "choices": []}) == {**HEAD, "choices": []}
    assert SHAPE.chunk(payload) == {**HEAD, "choices": []}


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ({}, ""),
        ({"content": None}, ""),
        ({"content": "Hi"}, "Hi"),
        ({"reasoning": "Hm"}, ""),
        ({"content": None, "tool_calls": [{"index": 0}]}, None),
        ({"content": "Hi", "tool_calls": [{"index": 0}]}, "Hi"),
        ({"content": None, "tool_calls": []}, ""),
    ],
)
def test_silence_is_an_empty_text_or_null_beside_a_call(said: dict[str, Any], content: str | None) -> None:
    assert (delta(**said)["role"], delta(**said)["content"]) == ("assistant", content)


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning": "Hm"},
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"reasoning": None, "reasoning_content": "Hm", "reasoning_details": None},
        {"reasoning_content": "", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
    ],
)
def test_reasoning_is_under_each_of_its_names(said: dict[str, Any]) -> None:
    found = delta(**said)
    assert (found["reasoning"], found["reasoning_content"]) == ("Hm", "Hm")
    assert found["reasoning_details"][0]["text"] == "Hm"


@pytest.mark.parametrize("surface", [SHAPE, OPENAI])
def test_hidden_reasoning_is_under_none(surface: Shape) -> None:
    shape = Hiding(surface)
    said = {"content": "Hi", "reasoning": "Hm", "reasoning_content": "Hm", "reasoning_details": [{"text": "Hm"}]}
    told = shape.chunk({"choices": [{"index": 0, "delta": dict(said)}]})["choices"][0]["delta"]
    assert not told.keys() & set(REASONING_FIELDS)
    told = shape.completion({"choices": [{"index": 0, "message": dict(said)}]}, {})["choices"][0]["message"]
    assert not any(told.get(name) for name in REASONING_FIELDS)
    assert told["content"] == "Hi"
    assert (shape.hidden, surface.hidden) == ({0: "HmHm"}, {})


def test_what_is_hidden_is_kept_by_choice_and_never_in_part() -> None:
    shape = Hiding(OPENAI)
    for index, text in ((0, "It "), (1, "Or "), (0, "depends."), (1, "not.")):
        shape.chunk({"choices": [{"index": index, "delta": {"reasoning": text}}, {"index": 2, "delta": None}]})
    assert shape.hidden == {0: "It depends.", 1: "Or not."}
    for text in ("x" * MOST_HIDDEN, "more"):
        shape.chunk({"choices": [{"index": 0, "delta": {"reasoning": text}}]})
    assert shape.hidden == {}


def test_the_hosts_reason_is_kept_and_an_aggregators_is_the_hosts() -> None:
    choice: dict[str, Any] = {"finish_reason": "eos"}
    SHAPE.end(choice, "stop")
    assert choice == {"finish_reason": "stop", "native_finish_reason": "eos"}
    choice = {"finish_reason": "stop", "native_finish_reason": "eos_token"}
    SHAPE.end(choice, "stop")
    assert choice["native_finish_reason"] == "eos_token"


@pytest.mark.parametrize(
    ("hours", "usd"),
    [(0, 0.1), (11.9, 0.1), (12, 0.2), (23.9, 0.2), (24, 0.1), (20_000 * 24 + 11.9, 0.1), (20_000 * 24 + 12, 0.2)],
)
def test_what_was_paid_for_is_at_the_price_of_the_hour(hours: float, usd: float) -> None:
    used = Usage(10**6, 0, 10**6, 0, "host")
    parts = OpenRouterShape(REQUEST, ENDPOINT, hours * 3_600).usage(used, PICO)["cost_details"]
    assert parts["upstream_inference_prompt_cost"] == pytest.approx(usd)
    assert parts["upstream_inference_completions_cost"] == pytest.approx(1 - usd)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.0, 13 * 3600.0]))
def test_what_was_paid_for_adds_up(prompt: int, cached: int, completion: int, unix: float) -> None:
    used = Usage(prompt, min(cached, prompt), completion, 0, "host")
    paid = cost(used, PRICE, int(unix // 3600))
    told = OpenRouterShape(REQUEST, ENDPOINT, unix).usage(used, paid)
    parts = told["cost_details"]
    read, written = parts["upstream_inference_prompt_cost"], parts["upstream_inference_completions_cost"]
    assert told["cost"] == parts["upstream_inference_cost"] == paid / PICO
    assert read + written == pytest.approx(told["cost"])
    assert min(read, written) >= 0
    assert (read == 0) >= (prompt == 0)


def test_an_endpoint_without_a_price_costs_nothing() -> None:
    free = Endpoint("a/fp8", "a", None, None)
    told = OpenRouterShape(REQUEST, free, 0.0).usage(Usage(5, 0, 5, 0, "host"), 0)
    assert told["cost_details"]["upstream_inference_prompt_cost"] == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
KEYS = ("content", "role", "tool_calls", "refusal", "logprobs", *REASONING_FIELDS)
CALLS = st.lists(
    st.fixed_dictionaries({}, optional={"id": JSON, "index": JSON, "type": JSON, "function": JSON}), max_size=2
)
SAID = st.none() | st.fixed_dictionaries({}, optional={**dict.fromkeys(KEYS, JSON), "tool_calls": CALLS | JSON})


@given(said=SAID, reason=JSON, native=JSON, part=st.sampled_from(["delta", "message"]))
def test_whatever_a_sound_choice_holds_can_be_said(said: Any, reason: Any, native: Any, part: str) -> None:
    choice = {"index": 0, part: said, "finish_reason": reason, "native_finish_reason": native}
    payload = {"choices": [choice]}
    SHAPE.end(choice, "stop")
    if part == "delta":
        told = SHAPE.chunk(payload)["choices"][0]["delta"]
    else:
        told = SHAPE.completion(payload, {})["choices"][0]["message"]
    assert all(told[name] for name in ("tool_calls", "reasoning_details", "reasoning_content") if name in told)
    assert told["role"] == "assistant"
