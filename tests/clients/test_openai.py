"""OpenAI's SDKs against the gateway and a real HTTP host: what test_loops.py does not ask of every client."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.clients.app import App, app_of
from tests.clients.sdks import command_of
from tests.support.gateway import Gateway

SCRIPTS = {"openai-python": "openai_python.py", "openai-node": "openai_node.mjs"}


@pytest.fixture(params=SCRIPTS)
async def app(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[App]:
    async with app_of(gateway, command_of(request.param, SCRIPTS[request.param]), "/v1") as app:
        yield app


async def test_streamed_answer_is_the_whole_one(app: App) -> None:
    whole, streamed = (await app.does("whole", "streamed")).values()
    assert streamed["content"] == whole["content"]
    assert streamed["finish_reason"] == "stop"
    assert streamed["cost"] > 0


async def test_json_mode(app: App) -> None:
    assert isinstance(await app.does("json_mode"), dict)


async def test_client_that_leaves_ends_the_hosts_work(app: App) -> None:
    await app.steer(speed=1)
    seen = await app.does("disconnect")
    assert seen["first"]
    async with asyncio.timeout(60):
        while (await app.counters())["cancelled"] == 0:
            await asyncio.sleep(0.05)


async def test_a_response_with_usage_and_cost(app: App) -> None:
    seen = await app.does("respond")
    assert seen["content"]
    assert seen["status"] == "completed"
    assert seen["total_tokens"] > 0
    assert seen["cost"] > 0


async def test_a_streamed_response_is_the_whole_one(app: App) -> None:
    whole, streamed = (await app.does("respond", "respond_streamed")).values()
    assert streamed["content"] == streamed["final"] == whole["content"]
    assert streamed["kinds"][0] == "response.created"
    assert streamed["kinds"][-1] == "response.completed"
    assert streamed["cost"] > 0


async def test_a_response_calls_tools_over_two_turns_and_thinks(app: App) -> None:
    seen = await app.does("respond_tools")
    assert [name for name, _ in seen["calls"]] == ["get_weather", "get_weather"]
    assert all(isinstance(arguments["city"], str) for _, arguments in seen["calls"])
    assert len(seen["thoughts"]) == 2
    assert all(seen["thoughts"])
    assert seen["content"]


async def test_a_response_is_parsed_by_its_schema(app: App) -> None:
    seen = await app.does("respond_parsed")
    assert isinstance(seen["name"], str)
    assert isinstance(seen["people"], int)


async def test_errors_of_responses_are_the_sdks_own_classes(app: App) -> None:
    assert await app.does("respond_errors") == {"400": ["BadRequestError", 400], "404": ["NotFoundError", 404]}


async def test_a_response_that_breaks_off_is_an_exception(app: App) -> None:
    await app.steer(next=["cut"])
    assert "broke off" in (await app.does("respond_broken") or "nothing was raised")


async def test_text_completions_whole_and_streamed(app: App) -> None:
    seen = await app.does("complete")
    assert seen["content"]
    assert seen["streamed"] == seen["content"]
    assert seen["total_tokens"] > 0


async def test_the_models(app: App) -> None:
    name = "deepseek/deepseek-v3.2"
    assert await app.does("models") == {"listed": [name], "one": name, "missing": ["NotFoundError", 404]}
