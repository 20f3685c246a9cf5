"""What a worker logs about its endpoints: each change of a breaker once, with the reason."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from gateway.app import Worker
from gateway.config import load
from gateway.configuration import configured
from gateway.state.folder import StateFolder
from gateway.telemetry.metrics import prepare_folder
from tests.support.gateway import NO_STORE, write_config


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    folder = StateFolder(tmp_path / "state")
    prepare_folder(folder.metrics)
    config = write_config(tmp_path, {"own/host": "http://127.0.0.1:1"})
    worker = Worker(configured(replace(load(config, {}), state=folder.path)), folder, NO_STORE)
    worker.begin(asyncio.get_running_loop())
    await worker.start()
    yield worker
    await worker.stop()


async def until_logged(caplog: pytest.LogCaptureFixture, count: int) -> list[tuple[str, str]]:
    """Level and message of what was logged about endpoints, once there is as much."""
    async with asyncio.timeout(60):
        while True:
            said = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "gateway"]
            if len(said) >= count:
                return said
            await asyncio.sleep(0.01)


async def test_a_breaker_that_opens_and_closes_is_reported_once_each(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    (fleet,) = worker.configured.fleets.values()
    breaker = fleet.states["own/host"].breaker
    opened = monotonic() - 100  # so that its backoff is over
    breaker.trip(opened, 0.0, "server_error")
    assert await until_logged(caplog, 1) == [("WARNING", "own/host: breaker opened, endpoint not in use: server_error")]
    now = monotonic()
    breaker.failed(breaker.sent(now), now - 10, 0.0, "cut")  # open again: it has not been closed meanwhile
    for _ in range(2):
        breaker.succeeded(breaker.sent(now), now)
    assert await until_logged(caplog, 2) == [
        ("WARNING", "own/host: breaker opened, endpoint not in use: server_error"),
        ("INFO", "own/host: breaker closed, endpoint in use again"),
    ]
