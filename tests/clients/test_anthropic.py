"""Anthropic's SDK against the gateway and a real HTTP host: what test_loops.py does not ask of every client."""

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
    assert whole["content"]
    assert whole["stop_reason"] == "end_turn"
    assert whole["request_id"] == f"gen-{whole['named']}"
    assert 0 < seen["count"] < 100

    assert streamed["heard"] == streamed["content"] == whole["content"]
    assert streamed["stop_reason"] == "end_turn"
    assert streamed["usage"]["completion"] == whole["usage"]["completion"]
    assert thinking["blocks"] == ["thinking", "text"]
    assert thinking["heard"] == thinking["content"] != ""


async def test_the_models(app: App) -> None:
    seen = await app.does("models")
    assert seen["listed"] == [["deepseek/deepseek-v3.2", "DeepSeek V3.2"]]
    assert seen["one"] == ["deepseek/deepseek-v3.2", 2025]
    assert seen["missing"][:2] == ["NotFoundError", 404]
