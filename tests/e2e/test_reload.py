"""A running gateway of two workers whose file is edited: both take it as a whole, and so does one that starts later."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.server.test_supervisor import Log, served
from tests.server.test_workers import until, workers_of
from tests.support.gateway import Running, write_config

BOTH = 30  # fresh connections, of which both workers get some


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Running, Log, Path]]:
    async with served(tmp_path, "--workers", "2") as (running, log):
        await until(lambda: log().count("is up") >= 2)
        yield running, log, tmp_path


async def policies(running: Running) -> set[str]:
    """The default policy of each worker, by many connections."""
    found = set()
    for _ in range(BOTH):
        async with httpx.AsyncClient(base_url=running.url, verify=False) as client:
            found.add((await client.get("/page/model.json")).json()["policies"]["default"])
    return found


async def everywhere(running: Running, policy: str) -> None:
    async with asyncio.timeout(60):
        while await policies(running) != {policy}:
            await asyncio.sleep(0.1)


def edit(folder: Path, **settings: object) -> None:
    write_config(folder, {"own/host": "http://127.0.0.1:1"}, policies=str(folder / "policies"), **settings)


async def test_one_life_of_a_file(two: tuple[Running, Log, Path]) -> None:
    running, log, folder = two
    edit(folder, default_policy="nitro", host="::1")
    await everywhere(running, "nitro")
    assert log().count("configuration in force: default_policy changed") == 1, "once, and not by each worker"
    assert "in force only after a restart: host" in log()

    for policy in ("floor", "exacto"):  # twice, quickly
        edit(folder, default_policy=policy)
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
    await everywhere(running, "exacto")

    edit(folder, default_policy="nowhere")
    await until(lambda: "there is no policy `nowhere`" in log())
    victim = workers_of(running)[0]
    os.kill(victim, signal.SIGKILL)  # the one that replaces it starts while the file is bad
    await until(lambda: len([one for one in workers_of(running) if one != victim]) == 2)
    await until(lambda: log().count("is up") >= 3)
    assert await policies(running) == {"exacto"}
    async with asyncio.timeout(60):
        while not all([await problem(running) for _ in range(BOTH)]):
            await asyncio.sleep(0.1)

    edit(folder, default_policy="balanced")
    await everywhere(running, "balanced")
    assert not any([await problem(running) for _ in range(BOTH)])
    assert "Traceback" not in log()


async def problem(running: Running) -> list[str]:
    async with httpx.AsyncClient(base_url=running.url, verify=False) as client:
        found: list[str] = (await client.get("/health/ready")).json()["config_problems"]
    return found
