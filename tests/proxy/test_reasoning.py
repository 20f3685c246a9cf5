"""A client that drops the reasoning of a tool turn: the model gets it back, through any gateway over the same store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.route import tokens
from tests.proxy.routed import chunk, payloads, says
from tests.support.gateway import Running, in_process
from tests.support.host import Script, ScriptedHost, answers, chunks, completion, streams
from tests.support.valkey import running as valkey_running

Json = dict[str, Any]
THOUGHT = "It depends on the weather."
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
KEYS = [{"tenant": "web", "key": "w"}, {"tenant": "else", "key": "e"}]
THINKS = {"dialect": {"thinking": "chat_template_kwargs.thinking"}, "supports": ["tools"]}
USER = {"role": "user", "content": "Umbrella?"}


def thinks_and_calls(stream: bool) -> Script:
    if not stream:
        whole = completion("", reasoning=THOUGHT, finish="tool_calls")
        whole["choices"][0]["message"]["tool_calls"] = [CALL]
        return answers(200, whole)
    thoughts = [chunk({"reasoning_content": part}) for part in ("It depends ", "on the weather.")]
    pieces = [{"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}]
    rest = [{"index": 0, "function": {"arguments": CALL["function"]["arguments"]}}]
    calls = [chunk({"tool_calls": pieces}), chunk({"tool_calls": rest}), chunk({}, "tool_calls")]
    return says(chunk({"role": "assistant", "content": ""}), *thoughts, *calls, b"data: [DONE]\n\n")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[str]:
    with valkey_running(tmp_path / "valkey") as url:
        yield url


async def ask(running: Running, messages: list[Json], key: str = "w", cache: str = "", **fields: Any) -> str:
    body = {"model": "deepseek-v3.2", "messages": messages, "tools": TOOLS, "thinking": {"type": "enabled"}}
    headers = {"authorization": f"Bearer {key}"} | ({"x-gateway-cache": cache} if cache else {})
    response = await running.client.post("/v1/chat/completions", json=body | fields, headers=headers)
    assert response.status_code == 200
    return response.text


async def start(stack: AsyncExitStack, folder: Path, sink: str, host: ScriptedHost, store: str, **more: Any) -> Running:
    folder.mkdir()
    more = {"endpoint": THINKS, "keys": KEYS, **more}
    started = in_process(folder, sink, {"a/fp8": host.url}, store=store, **more)
    running = await stack.enter_async_context(started)
    async with asyncio.timeout(60):
        while (await running.client.get("/health/ready")).json()["store"] != "up":
            pass
    return running


async def explained(running: Running, messages: list[Json]) -> Json:
    body = {"model": "deepseek-v3.2", "messages": messages, "tools": TOOLS}
    response = await running.client.post("/v1/explain", json=body, headers={"authorization": "Bearer w"})
    plan: Json = response.json()
    return plan


def read_again(host: ScriptedHost) -> object:
    return host.requests[-1].json()["messages"][1].get("reasoning_content")


TURN: list[Json] = [
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1"},
]


@pytest.mark.parametrize("stream", [True, False])
async def test_it_comes_back_through_another_gateway(stream: bool, sink: str, store: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            ScriptedHost([thinks_and_calls(stream), *[answers(200, completion("Yes."))] * 3])
        )
        one = await start(stack, tmp_path / "one", sink, host, store)
        two = await start(stack, tmp_path / "two", sink, host, store)
        await ask(one, [USER], stream=stream)
        await until_kept(store)
        await ask(two, TURN)
        assert read_again(host) == THOUGHT
        await ask(two, TURN, key="e")
        assert read_again(host) is None
        await ask(two, TURN, thinking={"type": "disabled"})
        assert read_again(host) is None


@pytest.mark.parametrize("stream", [True, False])
async def test_what_the_client_does_not_want_to_hear_comes_back(
    stream: bool, sink: str, store: str, tmp_path: Path
) -> None:
    script = [thinks_and_calls(stream), answers(200, completion("Yes."))]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(script))
        running = await start(stack, tmp_path / "one", sink, host, store)
        quiet = {"reasoning": {"enabled": True, "exclude": True}}
        assert THOUGHT.split()[0] not in await ask(running, [USER], stream=stream, **quiet)
        await until_kept(store)
        await ask(running, TURN, **quiet)
        assert read_again(host) == THOUGHT


async def test_the_response_cache_keeps_the_same_answer_beside_it(sink: str, store: str, tmp_path: Path) -> None:
    script = [thinks_and_calls(True), answers(200, completion("Yes."))]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(script))
        running = await start(stack, tmp_path / "one", sink, host, store)
        first = await ask(running, [USER], stream=True, cache="on")
        await until_kept(store)
        await until_kept(store, b"gw:cache:*")
        again = await ask(running, [USER], stream=True, cache="on")
        assert thought(again) == thought(first) == THOUGHT
        await ask(running, TURN)
        assert read_again(host) == THOUGHT


async def test_an_answer_that_must_not_be_stored_is_not(sink: str, store: str, tmp_path: Path) -> None:
    script = [thinks_and_calls(True), answers(200, completion("Yes."))]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(script))
        running = await start(stack, tmp_path / "one", sink, host, store)
        await ask(running, [USER], stream=True, cache="no-store")
        await ask(running, TURN)
        assert read_again(host) is None


async def test_a_prompt_that_would_not_fit_with_it_goes_as_it_came(
    sink: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where estimates are held to be exact."""
    monkeypatch.setattr(tokens, "DOUBTED", 0.0)
    monkeypatch.setattr(tokens, "SURE", 0.0)
    long = "word" * 800
    script = [thinks_and_calls(True), answers(200, completion("Yes."))]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(script))
        running = await start(stack, tmp_path / "one", sink, host, store, endpoint=THINKS | {"context": 1_000})
        await ask(running, [USER], stream=True)
        await until_kept(store)
        turn = [{"role": "user", "content": long}, *TURN[1:]]
        room = 999 - (await explained(running, turn))["prompt_tokens"]
        turn[0] = {"role": "user", "content": long + "word" * (room - 2)}
        await ask(running, turn)
        assert read_again(host) is None


async def test_one_setting_switches_it_off(sink: str, store: str, tmp_path: Path) -> None:
    script = [thinks_and_calls(True), answers(200, completion("Yes."))]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(script))
        running = await start(stack, tmp_path / "one", sink, host, store, keep_reasoning=False)
        await ask(running, [USER], stream=True)
        await ask(running, TURN)
        assert read_again(host) is None


async def test_no_store_keeps_nothing_and_fails_nothing(sink: str, tmp_path: Path) -> None:
    script = [thinks_and_calls(True), answers(200, completion("Yes."))]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(script))
        running = await stack.enter_async_context(in_process(tmp_path, sink, {"a/fp8": host.url}, endpoint=THINKS))
        await ask(running, [USER], stream=True)
        await ask(running, TURN)
        assert read_again(host) is None


async def test_an_answer_without_calls_is_not_put_together(sink: str, store: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(streams(chunks("Yes.", reasoning=THOUGHT))))
        running = await start(stack, tmp_path / "one", sink, host, store)
        text = await ask(running, [USER], stream=True)
        assert payloads(text)[-1]["choices"][0]["finish_reason"] == "stop"
        assert await keys(store) == []


def thought(text: str) -> str:
    deltas = [choice["delta"] for payload in payloads(text) for choice in payload["choices"]]
    return "".join(delta.get("reasoning_content") or "" for delta in deltas)


async def until_kept(store: str, pattern: bytes = b"gw:think:*") -> None:
    found: list[Any] = []
    async with asyncio.timeout(60):
        while not found:
            found = await keys(store, pattern)


async def keys(store: str, pattern: bytes = b"gw:think:*") -> list[Any]:
    client = Redis.from_url(store)
    try:
        return list(await client.keys(pattern))
    finally:
        await client.aclose()
