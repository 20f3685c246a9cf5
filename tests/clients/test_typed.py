"""Every answer and every event, read with the types of the clients' own SDKs.

The SDKs forgive much: what does not fit becomes an unknown part, or vanishes. Here it is a failure.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.sdks import command_of
from tests.support.gateway import Running, in_process
from tests.support.host import Json, Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.support.valkey import running as valkey_running

Told = tuple[str, Json]
FUNCTION: Json = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
TOOLS: list[Json] = [
    FUNCTION,
    {"type": "custom", "name": "say", "format": {"type": "text"}},
    {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [{**FUNCTION, "name": "spawn"}]},
    {"type": "web_search"},
]
ENDPOINT: Json = {"supports": ["tools", "json_schema"]}
USER: Json = {"role": "user", "content": "Hi"}
ASKED: list[Json] = [
    {"input": "Hi"},
    {"input": "Hi", "user": "u", "metadata": {"a": "b"}, "temperature": 0.5, "frequency_penalty": 0.5, "store": False},
    {"input": [USER], "instructions": "Be brief.", "reasoning": {"effort": "high", "summary": "auto"}},
    {"input": [USER], "tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
    {"input": "Hi", "tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}},
    {
        "input": "Hi",
        "tools": TOOLS,
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    },
    {"input": "Cut", "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}},
    {"input": "Break"},
]
MESSAGES: list[Json] = [
    {"messages": [USER]},
    {"messages": [USER], "tools": [{"name": "f", "input_schema": {}}], "thinking": {"type": "adaptive"}},
    {"messages": [{**USER, "content": "Cut"}]},
]
CALLS = [
    {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": '{"input":"x"}'}}
    for index, name in enumerate(("f", "say", "agents__spawn"))
]


async def answer(request: Received, out: Out) -> None:
    """Thinks, and calls every tool that it is given; else it says something. "Cut" and "Break" end so."""
    body = request.json()
    wish, stream = body["messages"][-1]["content"], body.get("stream")
    finish = "length" if wish == "Cut" else "tool_calls" if body.get("tools") else "stop"
    calls = [
        call
        for call in CALLS
        if any(tool["function"]["name"] == call["function"]["name"] for tool in body.get("tools", ()))
    ]
    if not stream:
        whole = completion("Hello", reasoning="So", finish=finish)
        whole["choices"][0]["message"] |= {"tool_calls": calls} if calls else {}
        await answers(200, whole)(request, out)
        return
    said = chunks("Hello you", reasoning="So it is", finish=finish)
    said[-2]["choices"][0]["delta"] = {"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]}
    await streams(said[:3] if wish == "Break" else said, done=wish != "Break")(request, out)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Told]]]:
    """What the gateway answers, by the base path: (what it is, the JSON)."""
    folder = tmp_path_factory.mktemp("typed")
    with valkey_running(folder / "valkey") as store:
        yield asyncio.run(_said(folder, store))


async def _said(folder: Path, store: str) -> dict[str, list[Told]]:
    async with (
        ScriptedHost(answer) as host,
        in_process(folder, "direct", {"a/fp8": host.url}, store=store, endpoint=ENDPOINT) as running,
    ):
        while (await running.client.get("/health/ready")).json()["store"] != "up":
            pass
        return {path: await everything(running, path) for path in ("/v1", "/api/v1")}


async def everything(running: Running, path: str) -> list[Told]:
    found: list[Told] = []
    for route, bodies in (("responses", ASKED), ("messages", MESSAGES)):
        whole = route.removesuffix("s")
        for body in bodies:
            for stream in (False, True):
                asked = {"model": "deepseek-v3.2", "max_tokens": 50, **body, "stream": stream}
                answer = await running.client.post(f"{path}/{route}", json=asked)
                if stream:
                    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
                    found += [(f"{whole} event", json.loads(line)) for line in lines]
                elif answer.status_code == 200:
                    found.append((whole, answer.json()))
    first = next(payload for what, payload in found if what == "response" and payload["store"])
    found.append(("response", (await running.client.get(f"{path}/responses/{first['id']}")).json()))
    found.append(("response items", (await running.client.get(f"{path}/responses/{first['id']}/input_items")).json()))
    for name in ("deepseek-v3.2", "claude-opus-5"):
        model = await running.client.get(f"/v1/models/{name}", headers={"anthropic-version": "2023-06-01"})
        found.append(("model", model.json()))
    wrong = await running.client.post(f"{path}/messages", json={"model": "m"})
    return [*found, ("message error", wrong.json())]


def problems(sdk: str, script: str, payloads: list[Told]) -> Any:
    command = command_of(sdk, script)
    run = subprocess.run(command, input=json.dumps(payloads), capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def of(said: list[Told], start: str) -> list[Told]:
    """What belongs to one API, by its last word."""
    return [(what.split(" ")[-1] if " " in what else what, payload) for what, payload in said if what.startswith(start)]


@pytest.mark.parametrize("path", ["/v1", "/api/v1"])
def test_openais_types(path: str, said: dict[str, list[Told]]) -> None:
    payloads = of(said[path], "response")
    assert {payload.get("status") for what, payload in payloads if what == "response"} == {"completed", "incomplete"}
    assert len({payload["type"] for what, payload in payloads if what == "event"}) > 20
    assert problems("openai-python", "typed_openai.py", payloads) == []


def test_openrouters_types(said: dict[str, list[Told]]) -> None:
    payloads = [*of(said["/api/v1"], "response"), *of(said["/api/v1"], "message")]
    read = [(what, payload) for what, payload in payloads if what in ("response", "message")]
    read += [(what, payload) for what, payload in of(said["/api/v1"], "response") if what == "event"]
    assert problems("openrouter", "typed_openrouter.py", read) == []


def test_openrouters_types_for_node(said: dict[str, list[Told]]) -> None:
    payloads = [one for one in of(said["/api/v1"], "response") if one[0] != "items"]
    assert problems("openrouter-node", "typed_openrouter_node.mjs", payloads) == []


def test_what_does_not_fit_is_found(said: dict[str, list[Told]]) -> None:
    """Otherwise the tests above would show nothing."""
    whole = next(payload for what, payload in said["/api/v1"] if what == "response")
    short: list[Told] = [("response", {name: value for name, value in whole.items() if name != "presence_penalty"})]
    assert len(problems("openrouter", "typed_openrouter.py", short)) == 1
    assert len(problems("openrouter-node", "typed_openrouter_node.mjs", short)) == 1
    odd: list[Told] = [("response", {**whole, "status": "odd"})]
    assert len(problems("openai-python", "typed_openai.py", odd)) == 1


@pytest.mark.parametrize("path", ["/v1", "/api/v1"])
def test_anthropics_types(path: str, said: dict[str, list[Told]]) -> None:
    payloads = [*of(said[path], "message"), *of(said[path], "model")]
    assert problems("anthropic", "typed_anthropic.py", payloads) == []
