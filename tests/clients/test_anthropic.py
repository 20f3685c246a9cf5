"""Anthropic's SDK against the gateway and a real HTTP host: base URL swapped, nothing else."""

from collections.abc import AsyncIterator

import pytest

from tests.clients.app import DIALECT, App, app_of
from tests.clients.sdks import command_of
from tests.support.gateway import Gateway


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    async with app_of(gateway, command_of("anthropic", "anthropic_python.py"), endpoint=DIALECT) as app:
        yield app


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


async def test_the_models(app: App) -> None:
    seen = await app.does("models")
    assert seen["listed"] == [["deepseek/deepseek-v3.2", "DeepSeek V3.2"]]
    assert seen["one"] == ["deepseek/deepseek-v3.2", 2025]
    assert seen["missing"][:2] == ["NotFoundError", 404]
