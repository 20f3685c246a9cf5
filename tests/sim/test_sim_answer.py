from statistics import median
from typing import Any

import orjson
import pytest

from gateway.sim.sim_answer import compose, thinks
from gateway.types import Dialect
from gateway.types.endpoint import ThinkingSwitch

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("get_weather", "get_time")
]


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_the_answer_depends_on_the_question_and_not_on_how_it_travels() -> None:
    assert compose(ask("hi"), False) == compose(ask("hi", stream=True, stream_options={"include_usage": True}), False)
    assert compose(ask("hi"), False) != compose(ask("hi", seed=1), False)


def test_max_tokens_is_the_length_and_a_longer_wish_is_cut_off() -> None:
    exact = compose(ask("hi", max_tokens=50), False)
    wished = compose(ask("Answer in about 20 words", max_tokens=50), False)
    cut = compose(ask("Answer in about 200 words", max_tokens=50), False)
    assert (exact.tokens, exact.finish) == (50, "stop")
    assert (wished.tokens, wished.finish) == (20, "stop")
    assert (cut.tokens, cut.finish) == (50, "length")


def test_an_answer_is_short_when_nothing_says_how_long() -> None:
    lengths = [compose(ask("hi", seed=seed), False).tokens for seed in range(200)]
    assert 30 < median(lengths) < 50


def test_thinking_comes_first_and_counts_against_max_tokens() -> None:
    answer = compose(ask("hi", max_tokens=140), True)
    starved = compose(ask("Answer in about 400 words", max_tokens=20), True)
    assert answer.reasoning
    assert answer.content
    assert answer.tokens <= 140
    assert (starved.content, starved.tokens, starved.finish) == ((), 20, "length")


@pytest.mark.parametrize(
    ("body", "called"),
    [
        (ask("use get_time", tools=TOOLS), ["get_time"]),
        (ask("get_weather and get_time please", tools=TOOLS), ["get_weather", "get_time"]),
        (ask("hello", tools=TOOLS), []),
        (ask("hello", tools=TOOLS, tool_choice="required"), ["get_weather"]),
        (ask("use get_time", tools=TOOLS, tool_choice="none"), []),
        (ask("hi", tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_time"}}), ["get_time"]),
    ],
)
def test_tools_are_called_when_named_or_demanded(body: dict[str, Any], called: list[str]) -> None:
    answer = compose(body, False)
    assert [call.name for call in answer.calls] == called
    assert answer.finish == ("tool_calls" if called else "stop")
    assert all("city" in orjson.loads("".join(call.arguments)) for call in answer.calls)


def test_a_tool_result_is_answered_in_prose() -> None:
    body = ask("use get_time", tools=TOOLS)
    body["messages"].append({"role": "tool", "tool_call_id": "call_1", "content": "noon, says get_time"})
    assert compose(body, False).calls == ()


def test_structured_answers_are_json() -> None:
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    assert orjson.loads("".join(compose(ask("hi", response_format=form), False).content)) == {"score": 3}
    assert "answer" in orjson.loads("".join(compose(ask("hi", response_format={"type": "json_object"}), False).content))


@pytest.mark.parametrize(
    ("switch", "body", "expected"),
    [
        ("chat_template_kwargs.thinking", {"chat_template_kwargs": {"thinking": True}}, True),
        ("chat_template_kwargs.thinking", {"enable_thinking": True}, False),
        ("enable_thinking", {"enable_thinking": True}, True),
        ("enable_thinking|reasoning_effort", {"reasoning_effort": "none"}, False),
        ("enable_thinking|reasoning_effort", {"reasoning_effort": "high"}, True),
        ("thinking.type", {"thinking": {"type": "enabled"}}, True),
        ("thinking.type", {"thinking": {"type": "disabled"}}, False),
        ("unknown", {"enable_thinking": True}, False),
    ],
)
def test_a_host_understands_its_own_switch_alone(switch: ThinkingSwitch, body: dict[str, Any], expected: bool) -> None:
    assert thinks(body, Dialect(thinking=switch)) is expected


def test_a_host_may_think_unless_it_is_switched_off() -> None:
    dialect = Dialect(thinking="enable_thinking", thinking_default="on")
    assert thinks({}, dialect)
    assert not thinks({"enable_thinking": False}, dialect)
