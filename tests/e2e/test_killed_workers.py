"""Workers that are killed in the middle of answers: the ledger has each attempt that the host saw, once."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import httpx

from gateway.telemetry.ledger import read
from gateway.types import Row
from tests.support.gateway import Running, gateway_command
from tests.support.host import Out, Received, ScriptedHost, chunks, completion, streams

STREAMS = 6


async def _never_ends(request: Received, out: Out) -> None:
    """Streams begin and hang, other answers come at once."""
    if not request.json().get("stream"):
        await streams(chunks("done"))(request, out)
        return
    await out.head(headers={"content-type": "text/event-stream"})
    chunk = completion("x")
    chunk["object"] = "chat.completion.chunk"
    chunk["choices"] = [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]
    await out.send(b"data: " + httpx.Response(200, json=chunk).content + b"\n\n")
    await out.closed()


async def _stream(running: Running) -> None:
    """One request on a connection of its own, until it breaks."""
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with httpx.AsyncClient(base_url=running.url, timeout=60, verify=False) as client:
        with suppress(httpx.HTTPError):
            await client.post("/v1/chat/completions", json=body)


def _workers_with_attempts(running: Running) -> list[int]:
    return [int(path.name.split("-")[1]) for path in (running.folder / "ledger").glob("*.sent")]


def _killed(running: Running) -> list[Row]:
    return [row for row in read(running.folder / "ledger") if row.outcome == "killed"]


async def test_attempts_of_killed_workers_are_booked_by_others_and_by_the_next_start(tmp_path: Path) -> None:
    async with ScriptedHost(_never_ends) as host:
        hosts = {"one/fp8": host.url}
        async with gateway_command(tmp_path, hosts, "--workers", "2") as running:
            asked = [asyncio.ensure_future(_stream(running)) for _ in range(STREAMS)]
            await host.until(lambda: len(host.requests) == STREAMS)
            os.kill(_workers_with_attempts(running)[0], signal.SIGKILL)
            await host.until(lambda: len(_killed(running)) > 0)
            first = len(_killed(running))
            assert running.process is not None
            running.process.kill()
            for worker in _workers_with_attempts(running):  # else they finish their answers before they stop
                with suppress(ProcessLookupError):  # the file of the one that was killed may still be there
                    os.kill(worker, signal.SIGKILL)
            await running.process.wait()
            await asyncio.gather(*asked)
        async with gateway_command(tmp_path, hosts) as running:
            await host.until(lambda: len(_killed(running)) == STREAMS)
        rows = list(read(running.folder / "ledger"))
        assert 0 < first <= STREAMS
        assert len({row.id for row in rows}) == len(rows) == len(host.requests)
        assert all(row.last and row.usage_source == "estimated" and row.cost > 0 for row in rows)
        assert list((running.folder / "ledger").glob("*.sent")) == []
