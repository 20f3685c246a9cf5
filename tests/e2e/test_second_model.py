"""A second model beside the shipped one: the example of the documentation serves requests as it is written there.

The YAML block is read out of docs/configuration.md; only the addresses of its hosts are replaced.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.config import Settings, load
from gateway.intake.model_and_policy import Names
from tests.page.data import data
from tests.support.gateway import Running, in_process
from tests.support.host import Received, Script, ScriptedHost, answers, chunks, completion, streams, usage
from tests.support.valkey import running as valkey_running

Json = dict[str, Any]
DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
FLASH, V32 = "deepseek/deepseek-v4-flash", "deepseek/deepseek-v3.2"
SHIPPED = {"novita": "https://api.novita.ai/openai/v1"}
USER, AGAIN = {"role": "user", "content": "Umbrella?"}, {"role": "user", "content": "And tomorrow?"}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
TAKE = {"role": "assistant", "content": "Take one."}


def example() -> str:
    """The YAML of the section."""
    section = DOCS.read_text(encoding="utf-8").split("\n## A second model\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(block)


def settings_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


@dataclass
class World:
    """The documented gateway beside the shipped model: `deepseek` and `rack` serve V4, `novita` serves V3.2."""

    running: Running
    store: str
    deepseek: ScriptedHost
    rack: ScriptedHost
    novita: ScriptedHost

    async def ask(self, messages: list[Json], only: str = "deepseek", **fields: Any) -> str:
        body = {"model": "deepseek-v4-flash", "messages": messages, "provider": {"only": [only]}, **fields}
        response = await self.running.client.post("/v1/chat/completions", json=body)
        assert response.status_code == 200, response.text
        return response.text

    async def kept(self, count: int) -> None:
        """Until the vault has so many texts."""
        async with asyncio.timeout(60), Redis.from_url(self.store) as redis:
            while len(await redis.keys("gw:think:*")) < count:
                await asyncio.sleep(0.005)


async def scripted(request: Received, out: Any) -> None:
    """Thinks where it is told to, calls the tool once, and answers then."""
    body = request.json()
    thought = "" if "disabled" in str(body.get("thinking")) else f"Thought-{len(body['messages'])}."
    calls = bool(body.get("tools")) and body["messages"][-1]["role"] == "user" and len(body["messages"]) == 1
    script: Script
    if "V4 is away" in str(body["messages"]) and "v4" in body["model"].lower():
        script = answers(500, {"error": {"message": "away"}})
    elif calls and body.get("stream"):
        script = streams(calling(thought))
    elif calls:
        whole = completion("", reasoning=thought, finish="tool_calls")
        whole["choices"][0]["message"] |= {"content": None, "tool_calls": [CALL]}
        script = answers(200, whole)
    elif body.get("stream"):
        script = streams(chunks("Take one.", reasoning=thought, used=usage(100, 10, cached=40)))
    else:
        script = answers(200, completion("Take one.", reasoning=thought, used=usage(100, 10, cached=40)))
    await script(request, out)


def calling(thought: str) -> list[Json]:
    """A stream that thinks and calls the tool."""
    events = chunks("", reasoning=thought, finish="tool_calls")
    called = {"index": 0, "delta": {"tool_calls": [{"index": 0, **CALL}]}, "finish_reason": None}
    return [*events[:-2], {**events[0], "choices": [called]}, *events[-2:]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(valkey_running(tmp_path / "valkey"))
        deepseek, rack, novita = [await stack.enter_async_context(ScriptedHost(scripted)) for _ in range(3)]
        text = example().replace("https://api.deepseek.com", deepseek.url).replace("http://10.0.0.7:8000", rack.url)
        override = f"  {V32}: {{endpoints: [{{id: novita/fp8, base_url: {novita.url}/v1}}]}}\n"
        path = tmp_path / "gateway.yaml"
        path.write_text(text + override, encoding="utf-8")
        keys = {"DEEPSEEK_API_KEY": "k", "NOVITA_API_KEY": "k"}
        running = await stack.enter_async_context(
            in_process(tmp_path, "direct", {}, config=path, environ=keys, store=store)
        )
        async with asyncio.timeout(60):
            while (await running.client.get("/health/ready")).json()["store"] != "up":
                pass
        yield World(running, store, deepseek, rack, novita)


def test_the_example_is_sound_as_it_stands(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, example(), {"DEEPSEEK_API_KEY": "k"})
    shipped, flash = settings.models
    assert shipped == load(None, {}).models[0]
    official, rack = flash.endpoints
    assert (official.context, rack.context, official.max_output, rack.max_output) == (
        1_048_576,
        393_216,
        393_216,
        393_216,
    )
    assert official.supports == rack.supports == ("tools", "tool_choice", "json_object")
    assert (official.dialect.thinking, rack.dialect.thinking) == ("thinking.type", "chat_template_kwargs.thinking")


def test_the_names_of_deepseeks_own_api_may_move_to_it(tmp_path: Path) -> None:
    moved = example().replace("aliases: [deepseek-v4-flash]", "aliases: [deepseek-chat, deepseek-reasoner]")
    names = Names(settings_of(tmp_path, f"{moved}  {V32}: {{aliases: [deepseek-v3.2]}}\n").models)
    chat, reasoner = names.model("deepseek-chat"), names.model("deepseek-reasoner:nitro")
    assert {chat.model.id, reasoner.model.id} == {FLASH}
    assert [chat.thinks(asked) for asked in (None, True, False)] == [False, True, False]
    assert [reasoner.thinks(asked) for asked in (None, True, False)] == [True, True, True]
    flash = names.model(FLASH)
    assert [flash.thinks(asked) for asked in (None, True, False)] == [True, True, False]


@pytest.mark.parametrize("stream", [True, False])
async def test_each_host_gets_its_own_dialect(stream: bool, world: World) -> None:
    assert "Thought" in await world.ask([USER], stream=stream)
    assert "Thought" not in await world.ask([USER], stream=stream, thinking={"type": "disabled"})
    await world.ask([USER], stream=stream, reasoning_effort="max")
    await world.ask([USER], "vllm", stream=stream)
    await world.ask([USER], "vllm", stream=stream, reasoning={"effort": "max"})
    await world.ask([USER], "vllm", stream=stream, reasoning={"enabled": False})
    told = ("model", "thinking", "reasoning_effort", "chat_template_kwargs")
    sent = [
        {name: one.json()[name] for name in told if name in one.json()}
        for one in (*world.deepseek.requests, *world.rack.requests)
    ]
    official, rack = {"model": "deepseek-v4-flash"}, {"model": "deepseek-ai/DeepSeek-V4-Flash"}
    assert sent == [
        official | {"thinking": {"type": "enabled"}},
        official | {"thinking": {"type": "disabled"}},
        official | {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
        rack | {"chat_template_kwargs": {"thinking": True}},
        rack | {"chat_template_kwargs": {"thinking": True, "reasoning_effort": "max"}},
        rack | {"chat_template_kwargs": {"thinking": False}},
    ]


def thoughts(host: ScriptedHost) -> list[object]:
    messages = host.requests[-1].json()["messages"]
    return [one.get("reasoning_content") for one in messages if one["role"] == "assistant"]


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_goes_back_in_all_later_turns(stream: bool, world: World) -> None:
    """From the client, where it sends it, and from the vault, where it does not: also that of answers without calls."""
    await world.ask([USER], stream=stream, tools=TOOLS)
    await world.kept(1)
    await world.ask([USER, CALLED, RESULT], stream=stream, tools=TOOLS)
    assert thoughts(world.deepseek) == ["Thought-1."]
    await world.kept(2)
    await world.ask([USER, CALLED, RESULT, TAKE, AGAIN], stream=stream, tools=TOOLS)
    assert thoughts(world.deepseek) == ["Thought-1.", "Thought-3."]
    own = [
        USER,
        CALLED | {"reasoning": "Mine."},
        RESULT,
        TAKE | {"reasoning": "Mine, too, and it is whole, " * 3},
        AGAIN,
    ]
    await world.ask(own, "vllm", stream=stream, tools=TOOLS)
    assert thoughts(world.rack)[1] == "Mine, too, and it is whole, " * 3


async def test_the_shipped_models_rule_stays_its_own(world: World) -> None:
    told = {"tools": TOOLS, "thinking": {"type": "enabled"}, "model": "deepseek-v3.2"}
    thinking = CALLED | {"reasoning_content": "Why."}
    await world.ask([USER, thinking, RESULT], "novita", **told)
    assert thoughts(world.novita) == ["Why."]
    await world.ask([USER, thinking, RESULT, TAKE | {"reasoning_content": "So."}, AGAIN], "novita", **told)
    assert thoughts(world.novita) == [None, None]
    await world.ask([USER], "novita", model="deepseek-v3.2")
    assert "chat_template_kwargs" not in world.novita.requests[-1].json()


@pytest.mark.parametrize(("model", "thought"), [(FLASH, ["Why.", "So."]), (V32, [None, None])])
async def test_the_rule_holds_on_every_surface(model: str, thought: list[object], world: World) -> None:
    host, provider = (world.deepseek, "deepseek") if model == FLASH else (world.novita, "novita")
    only = {"provider": {"only": [provider]}}
    tool_use = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}
    messages = [
        USER,
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Why.", "signature": "s"}, tool_use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "So.", "signature": "s"},
                {"type": "text", "text": "Take one."},
            ],
        },
        AGAIN,
    ]
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    asked: Json = {
        "model": model,
        "max_tokens": 100,
        "messages": messages,
        "tools": tools,
        "thinking": {"type": "adaptive"},
    }
    response = await world.running.client.post("/v1/messages", json=asked | only)
    assert response.status_code == 200, response.text
    assert thoughts(host) == thought
    items = [
        {"role": "user", "content": "Umbrella?"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Why."}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "So."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Take one."}]},
        {"role": "user", "content": "And tomorrow?"},
    ]
    function = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    asked = {"model": model, "input": items, "tools": [function], "reasoning": {"effort": "high"}}
    response = await world.running.client.post("/v1/responses", json=asked | only)
    assert response.status_code == 200, response.text
    assert thoughts(host) == thought


async def test_lists_metrics_page_and_plans_tell_the_two_apart(world: World) -> None:
    for model, only in ((FLASH, "deepseek"), (FLASH, "vllm"), ("deepseek-v3.2", "novita")):
        await world.ask([USER], only, model=model)
    client = world.running.client
    assert [one["id"] for one in (await client.get("/v1/models")).json()["data"]] == [V32, FLASH]
    shipped, flash = (await client.get("/api/v1/models")).json()["data"]
    assert (flash["context_length"], flash["created"]) == (1_048_576, 0)
    assert flash["reasoning"] == {"mandatory": False, "default_enabled": True}
    assert shipped["reasoning"] == {"mandatory": False, "default_enabled": False}
    listed = (await client.get(f"/api/v1/models/{FLASH}/endpoints")).json()["data"]["endpoints"]
    assert [(one["tag"], one["context_length"]) for one in listed] == [
        ("deepseek/v4-flash", 1_048_576),
        ("rack-4", 393_216),
    ]
    plan = (await client.post("/v1/explain", json={"model": FLASH, "messages": [USER]})).json()
    assert {one["endpoint"] for one in (*plan["ranked"], *plan["dropped"])} == {"deepseek/v4-flash", "rack-4"}
    for model, used in ((V32, {"novita/fp8"}), (FLASH, {"deepseek/v4-flash", "rack-4"})):
        page = (await client.get("/page/model.json", params={"model": model})).json()
        assert {one["id"] for one in page["endpoints"] if one["state"] == "in use"} == used
        exchanges = (await client.get("/page/exchanges.json", params={"model": model})).json()["exchanges"]
        assert [one["model"] for one in exchanges] == [model] * len(used)
    assert await world.running.metric("gateway_requests_total", model=FLASH) == 2
    for endpoint, model in (("novita/fp8", V32), ("deepseek/v4-flash", FLASH), ("rack-4", FLASH)):
        assert await world.running.metric("gateway_endpoint_info", endpoint=endpoint, model=model) == 1
        assert await world.running.metric("gateway_attempts_total", endpoint=endpoint, outcome="ok") == 1


async def test_a_model_may_stand_in_for_the_other(world: World) -> None:
    """OpenRouter's `models`: the next one is asked where all endpoints of the first one fail."""
    body = {"models": [FLASH, V32], "messages": [{"role": "user", "content": "V4 is away"}]}
    response = await world.running.client.post("/api/v1/chat/completions", json=body)
    assert (response.status_code, response.headers["x-gateway-endpoint"]) == (200, "novita/fp8")
    assert len((await data(world.running))["models"]) == 2
