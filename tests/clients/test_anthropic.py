"""Anthropic's SDK against the gateway and a real HTTP host: base URL swapped, nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sim.demofleet import FLEET
from gateway.sim.fleet import Rates
from gateway.sim.host import serving
from tests.clients.environments import python_with
from tests.support.gateway import Gateway, Running

SCRIPT = Path(__file__).parent / "anthropic_python.py"
KEY = "test-key-of-the-app"
HOST = replace(FLEET[0], rates=Rates(0, 0, 0))
DIALECT = {"dialect": {"thinking": "chat_template_kwargs.thinking", "thinking_default": "off"}}


class App:
    """The SDK's script, its gateway and the host behind it."""

    def __init__(self, python: Path, running: Running, host: str) -> None:
        self._python, self._running, self._host = python, running, host

    async def does(self, *names: str) -> Any:
        """What the script saw: of one thing, or of each of several, which spares starting the SDK for each."""
        process = await asyncio.create_subprocess_exec(
            *(str(self._python), str(SCRIPT), self._running.url, KEY, *names),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        seen = json.loads(out)
        return seen[names[0]] if len(names) == 1 else seen

    async def steer(self, **state: Any) -> None:
        async with httpx.AsyncClient() as client:
            (await client.post(f"{self._host}/_sim", json=state)).raise_for_status()


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    python = python_with("anthropic", "anthropic==2.12.0")
    async with serving([HOST], speed=0) as addresses:
        host = addresses[HOST.id]
        environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
        async with gateway({HOST.id: host}, environ=environ, endpoint=DIALECT) as running:
            yield App(python, running, host)


async def test_answers_whole_and_streamed(app: App) -> None:
    seen = await app.does("whole", "streamed", "thinking", "count")
    whole, streamed, thinking = seen["whole"], seen["streamed"], seen["thinking"]
    assert whole["blocks"] == ["text"]
    assert whole["text"]
    assert whole["stop_reason"] == "end_turn"
    assert whole["cost"] > 0
    assert whole["request_id"] == f"gen-{whole['named']}"
    fresh, cached, output = whole["usage"]
    assert 0 < seen["count"] < 100
    assert fresh > 0
    assert cached == 0
    assert output > 0

    assert streamed["heard"] == streamed["text"] == whole["text"]
    assert streamed["stop_reason"] == "end_turn"
    assert streamed["usage"][2] == output
    assert thinking["blocks"] == ["thinking", "text"]
    assert thinking["heard"] == thinking["text"] != ""


async def test_tools_over_two_turns_with_thinking(app: App) -> None:
    first, second, last = await app.does("tools")
    for turn in (first, second):
        assert turn["blocks"] == ["thinking", "tool_use"]
        assert turn["stop_reason"] == "tool_use"
        ((name, arguments),) = turn["calls"]
        assert name == "get_weather"
        assert isinstance(arguments["city"], str)
    assert last["blocks"] == ["thinking", "text"]
    assert last["stop_reason"] == "end_turn"
    assert first["signed"]
    assert last["signed"]


async def test_errors_are_the_sdks_own_classes(app: App) -> None:
    assert await app.does("errors") == {
        "400": ["BadRequestError", 400, "invalid_request_error"],
        "401": ["AuthenticationError", 401, "authentication_error"],
        "404": ["NotFoundError", 404, "not_found_error"],
    }


async def test_rate_limit_of_every_host_is_429(app: App) -> None:
    await app.steer(next=["429", "429"])
    assert await app.does("failed") == [["RateLimitError", 429, "rate_limit_error"]] * 2


async def test_failure_of_every_host_is_503(app: App) -> None:
    await app.steer(next=["500", "500"])
    assert await app.does("failed") == [["ServiceUnavailableError", 503, "overloaded_error"]] * 2


async def test_an_answer_that_breaks_off_is_an_error(app: App) -> None:
    await app.steer(next=["cut"])
    seen = await app.does("broken")
    assert seen["heard"][0] == "message_start"
    assert "message_stop" not in seen["heard"]
    assert seen["error"] == "api_error"
    assert "broke off" in seen["message"]
