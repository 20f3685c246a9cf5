"""Tool calls that a host got wrong reach the client as calls, over both sinks, streamed and whole."""

import json
from typing import Any

import pytest

from tests.proxy.routed import Routed, payloads, rows
from tests.support.host import ScriptedHost, answers, chunks, completion, streams
from tests.upstream.markup import WEATHER, WEATHER_ARGUMENTS

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CAN = {"endpoint": {"supports": ["tools", "json_object"]}}
TEXT = "Let me see.\n\n"


async def test_a_streamed_leak_is_a_call(routed: Routed) -> None:
    async with ScriptedHost(streams(chunks(TEXT + WEATHER))) as host, routed(host, settings=CAN) as running:
        response = await running.chat(stream=True, tools=TOOLS)
        assert response.text.endswith("data: [DONE]\n\n")
        choices = [choice for payload in payloads(response.text) for choice in payload["choices"]]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == TEXT
        (call,) = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
        assert call["function"] == {"name": "weather", "arguments": WEATHER_ARGUMENTS}
        assert choices[-1]["finish_reason"] == "tool_calls"


async def test_a_whole_leak_is_a_call(routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion(TEXT + WEATHER))) as host, routed(host, settings=CAN) as running:
        (choice,) = (await running.chat(tools=TOOLS)).json()["choices"]
        assert choice["message"]["content"] == TEXT
        (call,) = choice["message"]["tool_calls"]
        assert call["function"] == {"name": "weather", "arguments": WEATHER_ARGUMENTS}
        assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_leak_is_counted_and_held_against_the_endpoint(stream: bool, routed: Routed) -> None:
    script = streams(chunks(WEATHER)) if stream else answers(200, completion(WEATHER))
    async with ScriptedHost(script) as host, routed(host, settings=CAN) as running:
        await running.chat(stream=stream, tools=TOOLS)
        (row,) = rows(running)
        assert (row.tools, row.repairs, row.finish_reason) == ("leaked", ("call",), "tool_calls")
        assert await running.metric("gateway_repairs_total", endpoint="a/fp8", kind="call") == 1
        assert await running.metric("gateway_tool_calls_total", endpoint="a/fp8", result="leaked") == 1


async def test_arguments_said_twice_are_counted_and_held_against_the_endpoint(routed: Routed) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}{"a":1}'}}
    whole = completion("", finish="tool_calls")
    whole["choices"][0]["message"]["tool_calls"] = [call]
    async with ScriptedHost(answers(200, whole)) as host, routed(host, settings=CAN) as running:
        (choice,) = (await running.chat(tools=TOOLS)).json()["choices"]
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
        (row,) = rows(running)
        assert (row.tools, row.repairs) == ("not_json", ("arguments",))


@pytest.mark.parametrize("stream", [True, False])
async def test_without_tools_markup_is_text(stream: bool, routed: Routed) -> None:
    script = streams(chunks(WEATHER)) if stream else answers(200, completion(WEATHER))
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await running.chat(stream=stream)
        part = "delta" if stream else "message"
        said = payloads(response.text) if stream else [response.json()]
        texts = [choice[part].get("content") or "" for payload in said for choice in payload["choices"]]
        assert "".join(texts) == WEATHER


async def test_json_is_healed_where_it_was_requested(routed: Routed) -> None:
    fenced = '```json\n{"a": 1}\n```'
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}}
    async with ScriptedHost(answers(200, completion(fenced))) as host, routed(host, settings=CAN) as running:
        plain = await running.chat(**asked)
        assert plain.json()["choices"][0]["message"]["content"] == fenced
        healed = await running.chat(**asked, plugins=[{"id": "response-healing"}])
        assert json.loads(healed.json()["choices"][0]["message"]["content"]) == {"a": 1}
