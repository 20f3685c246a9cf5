"""The official SDKs against the gateway and real HTTP hosts: base URL swapped, nothing else."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.app import DIALECT, App, app_of
from tests.clients.environments import node_modules_with, python_with
from tests.support.gateway import Gateway
from tests.support.programs import needs

HERE = Path(__file__).parent


@pytest.fixture(params=["python", "node"])
def command(request: pytest.FixtureRequest) -> tuple[list[str], Path | None]:
    if request.param == "python":
        return [str(python_with("openai-python", "openai==3.54.0")), str(HERE / "openai_python.py")], None
    node = needs("node")
    needs("npm")
    folder = node_modules_with("openai-node", "openai@6.49.0")
    script = shutil.copy(HERE / "openai_node.mjs", folder)
    return [node, str(script)], folder


@pytest.fixture
async def app(command: tuple[list[str], Path | None], gateway: Gateway) -> AsyncIterator[App]:
    started, cwd = command
    async with app_of(gateway, started, "/v1", cwd) as app:
        yield app


async def test_whole_answer_with_usage_and_cost(app: App) -> None:
    seen = await app.does("whole")
    assert seen["content"]
    assert seen["finish_reason"] == "stop"
    assert seen["total_tokens"] > 0
    assert seen["cost"] > 0
    assert seen["cached_tokens"] == seen["reasoning_tokens"] == 0


async def test_streamed_answer_is_the_whole_one(app: App) -> None:
    whole, streamed = await app.does("whole"), await app.does("streamed")
    assert streamed["content"] == whole["content"]
    assert streamed["finish_reason"] == "stop"
    assert streamed["cost"] > 0


async def test_tools_over_two_turns(app: App) -> None:
    seen = await app.does("tools")
    assert [name for name, _ in seen["calls"]] == ["get_weather", "get_weather"]
    assert all(isinstance(arguments["city"], str) for _, arguments in seen["calls"])
    assert seen["content"]


async def test_json_mode(app: App) -> None:
    assert isinstance(await app.does("json_mode"), dict)


async def test_errors_are_the_sdks_own_classes(app: App) -> None:
    assert await app.does("errors") == {
        "400": ["BadRequestError", 400],
        "401": ["AuthenticationError", 401],
        "404": ["NotFoundError", 404],
    }


async def test_rate_limit_of_every_host_is_429(app: App) -> None:
    await app.steer(next=["429"])
    assert await app.does("rate_limited") == ["RateLimitError", 429]


async def test_client_that_leaves_ends_the_hosts_work(app: App) -> None:
    await app.steer(speed=1)
    seen = await app.does("disconnect")
    assert seen["first"]
    async with asyncio.timeout(20):
        while (await app.counters())["cancelled"] == 0:
            await asyncio.sleep(0.05)


async def test_thinking_comes_as_reasoning_content(gateway: Gateway) -> None:
    python = python_with("openai-python", "openai==3.54.0")
    command = [str(python), str(HERE / "openai_python.py")]
    async with app_of(gateway, command, "/v1", endpoint=DIALECT) as app:
        seen = await app.does("thinking")
    assert seen["reasoning"]
    assert seen["content"]


async def test_a_response_with_usage_and_cost(app: App) -> None:
    seen = await app.does("respond")
    assert seen["content"]
    assert seen["status"] == "completed"
    assert seen["total_tokens"] > 0
    assert seen["cost"] > 0


async def test_a_streamed_response_is_the_whole_one(app: App) -> None:
    whole, streamed = await app.does("respond"), await app.does("respond_streamed")
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
    assert "broke off" in (await app.does("broken") or "nothing was raised")


async def test_text_completions_whole_and_streamed(app: App) -> None:
    seen = await app.does("complete")
    assert seen["content"]
    assert seen["streamed"] == seen["content"]
    assert seen["total_tokens"] > 0


async def test_the_models(app: App) -> None:
    name = "deepseek/deepseek-v3.2"
    assert await app.does("models") == {"listed": [name], "one": name, "missing": ["NotFoundError", 404]}
