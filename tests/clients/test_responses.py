"""The AI SDK with OpenAI's provider, whose default is Responses with `store`: from the second turn on it refers to what
it got, in place of sending it again."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.agents import DONE, THOUGHT, called
from tests.clients.app import KEY, told
from tests.clients.sdks import command_of
from tests.support.gateway import in_process
from tests.support.host import Json, Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.support.valkey import running as valkey_running

ENDPOINT: Json = {"supports": ["tools"]}
CITIES = ("Paris", "Rome", "Oslo")
WISHES = ("whole", "streamed", "unstored", "continued")


async def answer(request: Received, out: Out) -> None:
    """Asks for the weather of another city whenever it is spoken to, and has a tool."""
    body = request.json()
    turn = sum(message["role"] == "user" for message in body["messages"]) - 1
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        await streams(called(turn, "get_weather", {"city": CITIES[turn]}))(request, out)
    elif body.get("stream"):
        await streams(chunks(DONE))(request, out)
    else:
        await answers(200, completion(DONE))(request, out)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, list[Json]]]:
    """What the app saw, and the conversations that reached the host."""
    folder = tmp_path_factory.mktemp("responses")
    command = command_of("ai-sdk-openai", "ai_sdk_openai_node.mjs")
    with valkey_running(folder / "valkey") as store:
        yield asyncio.run(_run(command, folder, store))


async def _run(command: list[str], folder: Path, store: str) -> tuple[Any, list[Json]]:
    environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
    async with (
        ScriptedHost(answer) as host,
        in_process(folder, "direct", {"own/fp8": host.url}, store=store, environ=environ, endpoint=ENDPOINT) as gateway,
    ):
        while (await gateway.client.get("/health/ready")).json()["store"] != "up":
            pass
        seen = await told(*command, f"{gateway.url}/v1", KEY, *WISHES)
        return seen, [received.json() for received in host.requests]


@pytest.mark.parametrize("wish", ["whole", "streamed", "unstored"])
def test_three_turns_with_tools(wish: str, run: tuple[Any, list[Json]]) -> None:
    seen, asked = run
    assert seen[wish] == [{"text": DONE, "calls": [city]} for city in CITIES]
    start = WISHES.index(wish) * 6
    *_, last = asked[start : start + 6]
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant"] * 2 + ["user", "assistant", "tool"]
    told = [call["function"]["arguments"] for one in last["messages"] for call in one.get("tool_calls", ())]
    assert [json.loads(arguments)["city"] for arguments in told] == list(CITIES)
    assert last["messages"][-2].get("reasoning_content") == THOUGHT, "the model reads its own thoughts again"


def test_a_response_is_continued_by_its_name(run: tuple[Any, list[Json]]) -> None:
    seen, asked = run
    assert seen["continued"] == DONE
    assert [message["content"] for message in asked[-1]["messages"]] == ["Say hello", DONE, "Again"]
