"""Tool calls, whole or in pieces, against the tools that the request offered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repair import tool_call_check as toolcalls
from gateway.repair.tool_call_check import ToolCallCheck

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "exact": {"type": ["boolean", "null"]},
                "where": {"anyOf": [{"type": "string"}]},
                "odd": {"type": "point"},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TOOLS = [WEATHER, CLOCK]


def call(name: str, arguments: object, **more: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def message(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": list(calls)}}]}


def judged(*calls: dict[str, Any], tools: object = TOOLS) -> str:
    taken = ToolCallCheck()
    taken.take(message(*calls), "message")
    return taken.verdict(tools)


def delta(*calls: object, choice: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": choice, "delta": {"tool_calls": list(calls)}}]}


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("weather", '{"city": "Rome"}', "ok"),
        ("weather", '{"city": "Rome", "days": 3, "exact": null, "where": 5, "odd": 5, "more": 1}', "ok"),
        ("weather", '{"city": "Rome", "days": 3.0}', "ok"),
        ("weather", '{"city": "Rome", "days": 3.5}', "misfit"),
        ("weather", '{"city": "Rome", "days": true}', "misfit"),
        ("weather", '{"city": "Rome", "exact": "yes"}', "misfit"),
        ("weather", '{"city": 5}', "misfit"),
        ("weather", "{}", "misfit"),
        ("weather", "", "misfit"),
        ("weather", '{"city": "Rome"', "not_json"),
        ("weather", '["Rome"]', "not_json"),
        ("clock", "{}", "ok"),
        ("clock", "", "ok"),
        ("Weather", '{"city": "Rome"}', "unknown_name"),
        ("", "{}", "unknown_name"),
    ],
)
def test_one_call(name: str, arguments: str, result: str) -> None:
    assert judged(call(name, arguments)) == result


def test_the_worst_call_counts() -> None:
    good, bad = call("clock", "{}", index=0), call("weather", "{", index=1)
    assert judged(good, bad) == "not_json"
    assert judged(good, bad, call("nobody", "{}", index=2)) == "unknown_name"


def test_calls_without_an_index_are_identified_by_their_place() -> None:
    assert judged(call("clock", "{}"), call("weather", '{"city": "Rome"}')) == "ok"


@pytest.mark.parametrize(
    "tools",
    [
        None,
        [],
        "tools",
        [5],
        [{"function": 5}],
        [{"function": {"name": []}}],
        [{"function": {"name": "weather", "parameters": {"required": 5}}}],
    ],
)
def test_tools_that_say_nothing(tools: object) -> None:
    assert judged(call("weather", "{}"), tools=tools) in ("", "ok")


def test_an_answer_without_calls_says_nothing() -> None:
    assert judged() == ""


def test_pieces_are_put_together() -> None:
    taken = ToolCallCheck()
    taken.take(delta({"index": 0, "id": "x", "function": {"name": "weather", "arguments": ""}}), "delta")
    taken.take(delta({"index": 0, "function": {"arguments": '{"city": '}}), "delta")
    taken.take(delta({"index": 1, "function": {"name": "clock", "arguments": "{}"}}), "delta")
    taken.take(delta({"index": 0, "function": {"arguments": '"Rome"}'}}), "delta")
    taken.take(delta({"index": 0, "function": {"name": "clock", "arguments": "{}"}}, choice=1), "delta")
    assert taken.verdict(TOOLS) == "ok"
    assert "3" in repr(taken)


def test_what_says_no_index_is_of_the_first_choice() -> None:
    taken = ToolCallCheck()
    taken.take(delta({"index": 0, "function": {"name": "weather", "arguments": '{"city": '}}), "delta")
    taken.take({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '"Rome"}'}}]}}]}, "delta")
    assert taken.verdict(TOOLS) == "ok"


def test_what_cannot_be_read_is_passed_over() -> None:
    taken = ToolCallCheck()
    taken.take(delta(5, {"function": None}, {"function": {"name": None, "arguments": None}, "index": "x"}), "delta")
    taken.take({"choices": [{"delta": {"tool_calls": {}}}, {"delta": None}, 5]}, "delta")
    assert taken.verdict(TOOLS) == ""


def test_more_than_is_kept_is_not_judged() -> None:
    taken = ToolCallCheck()
    taken.take(message(*(call("clock", "{", index=place) for place in range(10_000))), "message")
    assert taken.verdict(TOOLS) == ""
    assert len(taken._calls) <= toolcalls.MOST_CALLS + 1
    long = ToolCallCheck()
    for _ in range(4):
        arguments = "x" * (toolcalls.MOST_TEXT // 2)
        long.take(delta({"index": 0, "function": {"name": "clock", "arguments": arguments}}), "delta")
    assert long.verdict(TOOLS) == ""
    (kept,) = long._calls.values()
    assert sum(map(len, kept.parts)) <= 2 * toolcalls.MOST_TEXT


def test_just_what_is_kept_is_judged() -> None:
    calls = [call("clock", "{}", index=place) for place in range(toolcalls.MOST_CALLS + 1)]
    assert judged(*calls[:-1]) == "ok"
    assert judged(*calls) == ""
    full = ToolCallCheck()
    full.take(message(call("clock", "{}".ljust(toolcalls.MOST_TEXT))), "message")
    assert full.verdict(TOOLS) == "ok"
    full.take(message(call("clock", " ")), "message")
    assert full.verdict(TOOLS) == ""


WORDS = ["choices", "index", "delta", "tool_calls", "function", "name", "arguments", "parameters", "required", "type"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@given(anything, anything)
def test_nothing_that_a_host_or_client_sends_breaks_it(payload: object, tools: object) -> None:
    taken = ToolCallCheck()
    if isinstance(payload, dict):
        taken.take(payload, "delta")
    taken.take(message(call("clock", "{}"), call("name", '{"type": 1}')), "message")
    taken.verdict(tools)
    taken.verdict([{"function": {"name": "clock", "parameters": tools}}, *(tools if isinstance(tools, list) else ())])
