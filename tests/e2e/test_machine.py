"""Faults of the machine while a gateway serves: requests go on, readiness says what fails, nothing needs a restart."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry.ledger import read
from tests.support.gateway import Running, gateway_command
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.support.processes import command_of, descendants


async def _serve(request: Received, out: Out) -> None:
    await (streams(chunks("hello")) if request.json().get("stream") else answers(200, completion("hello")))(
        request, out
    )


async def _until(running: Running, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Readiness says so."""
    async with asyncio.timeout(60):
        while not holds(ready := (await running.client.get("/health/ready")).json()):
            assert ready["status"] == "ok"
            await asyncio.sleep(0.05)


async def _served(running: Running) -> set[str]:
    """Requests of both kinds are answered, and so are scrapes. Returns the exchanges."""
    exchanges = set()
    for stream in (False, True):
        response = await running.chat(stream=stream)
        assert response.status_code == 200
        assert "hello" in response.text
        exchanges.add(response.headers["x-generation-id"])
    scrape = await running.client.get("/metrics")
    assert scrape.status_code == 200
    return exchanges


async def _sound(running: Running) -> None:
    """All works, and the next answer is in the ledger."""
    await _until(running, lambda ready: ready["store"] == "up" and not ready["degraded"])
    exchange = (await running.chat()).headers["x-generation-id"]
    async with asyncio.timeout(60):
        while not any(exchange in path.read_text() for path in (running.folder / "ledger").glob("*.jsonl")):
            await asyncio.sleep(0.05)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A state folder on a disk of its own, of 8 MB, where this user may mount one."""
    path = tmp_path / "state"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> Path:
    path = disk / "fill"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(512)):
                pass
        except OSError:
            return path
    raise AssertionError("the disk has no end")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_full_disk(tmp_path: Path, disk: Path, workers: str) -> None:
    """Rows wait in memory, and are written once there is room."""
    async with (
        ScriptedHost(_serve) as host,
        gateway_command(tmp_path, {"own/host": host.url}, "--workers", workers) as running,
    ):
        assert running.process is not None
        before = descendants(running.process.pid)
        filling = fill(disk)
        served: set[str] = set()
        for _ in range(6):
            served |= await _served(running)
        await _until(running, lambda ready: "ledger" in ready["degraded"])
        assert not served <= {row.exchange for row in read(running.folder / "ledger")}, "some rows wait"
        filling.unlink()
        await _sound(running)
        assert served <= {row.exchange for row in read(running.folder / "ledger")}
        assert await running.metric("gateway_ledger_errors_total") == 0
        assert before - descendants(running.process.pid) == set()


async def test_descriptors_that_are_used_up(tmp_path: Path) -> None:
    """Requests on open connections go on. New ones have to wait, and what fails is told."""
    async with (
        ScriptedHost(_serve) as host,
        gateway_command(tmp_path, {"own/host": host.url}) as running,
    ):
        assert running.process is not None
        await _until(running, lambda ready: ready["store"] == "up")
        await _served(running)
        before = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        await _until(running, lambda ready: {"metrics", "policies", "shipper"} <= ready["degraded"].keys())
        await _served(running)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, before)
        await _sound(running)


def _delete(folder: Path) -> None:
    """Until it is gone: workers write into it meanwhile."""
    while True:
        with suppress(OSError):
            shutil.rmtree(folder)
            return


async def test_a_state_folder_that_is_deleted(tmp_path: Path) -> None:
    async with (
        ScriptedHost(_serve) as host,
        gateway_command(tmp_path, {"own/host": host.url}, "--workers", "2") as running,
    ):
        await _served(running)
        _delete(running.folder)
        await _served(running)
        async with asyncio.timeout(60):
            while not (running.folder / "lock").exists():
                await asyncio.sleep(0.05)
            while len([*read(running.folder / "ledger")]) < len(host.requests):  # no row is lost
                await asyncio.sleep(0.05)
        await _sound(running)
        assert await running.metric("gateway_part_failures_total", part="ledger") > 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_embedded_store_that_is_killed(tmp_path: Path, workers: str) -> None:
    async with (
        ScriptedHost(_serve) as host,
        gateway_command(tmp_path, {"own/host": host.url}, "--workers", workers) as running,
    ):
        assert running.process is not None
        await _until(running, lambda ready: ready["store"] == "up")
        (store,) = (pid for pid in descendants(running.process.pid) if "valkey" in command_of(pid))
        os.kill(store, signal.SIGKILL)
        await _until(running, lambda ready: ready["store"] == "down" and "store" in ready["degraded"])
        await _served(running)
        await _sound(running)
