"""SIGTERM: not ready at once and reachable to the end, newcomers are served and then refused, streams end in order."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.test_workers import until
from tests.support.client import CHAT, connected
from tests.support.gateway import GUARD, Running, gateway_command
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

BODY = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}
WORDS = "one two three"


class Host:
    """Streams when it is asked to: the first word, and the others after `go`. Other requests are answered at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, received: Received, out: Out) -> None:
        streamed = received.json().get("stream") and "slowly" in received.body.decode()
        script = streams(chunks(WORDS)[1:], pause=self.go.wait) if streamed else answers(200, completion("hello"))
        await script(received, out)


@asynccontextmanager
async def drained(
    tmp_path: Path, workers: str, notice: str, limit: str
) -> AsyncIterator[tuple[Running, Host, Callable[[], str]]]:
    host, log = Host(), tmp_path / "log"
    with log.open("wb") as stderr:
        async with (
            ScriptedHost(host) as scripted,
            gateway_command(
                tmp_path,
                {"own/host": scripted.url},
                *("--workers", workers),
                stderr=stderr,
                drain={"notice": notice, "limit": limit},
            ) as running,
        ):
            await until(lambda: log.read_text().count("is up") >= int(workers))
            yield running, host, log.read_text


async def fresh(running: Running, path: str) -> httpx.Response:
    """A request on a connection of its own."""
    async with httpx.AsyncClient(base_url=running.url, verify=False, timeout=GUARD) as client:
        return await (client.get(path) if path.startswith("/health") else client.post(path, json=BODY))


async def last_on_its_connection(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The response that closes its connection. The connection's worker may get the signal later than another one; until
    then it serves as before."""
    async with asyncio.timeout(GUARD):
        while (response := await ask()).headers.get("connection") != "close":
            assert response.status_code == 200
            await asyncio.sleep(0.01)
    return response


async def exit_code(running: Running) -> int:
    assert running.process is not None
    return await asyncio.wait_for(running.process.wait(), GUARD)


SLOWLY = {**BODY, "stream": True, "messages": [{"role": "user", "content": "slowly"}]}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_drain_from_the_signal_to_the_exit(tmp_path: Path, workers: str) -> None:
    async with drained(tmp_path, workers, "3s", "60s") as (running, host, log):
        assert running.process is not None
        async with (
            httpx.AsyncClient(base_url=running.url, verify=False, timeout=GUARD) as checker,
            httpx.AsyncClient(base_url=running.url, verify=False, timeout=GUARD) as kept,
            running.client.stream("POST", "/v1/chat/completions", json=SLOWLY) as stream,
        ):
            assert stream.status_code == 200
            for client in (checker, kept):
                await client.get("/health/live")
            async with connected(running) as half:
                await half.send(CHAT + b"content-length: 100\r\n\r\n{")
                running.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(GUARD):
                    while (ready := await fresh(running, "/health/ready")).status_code != 503:
                        await asyncio.sleep(0.01)
                assert ready.json()["status"] == "draining"
                last = await last_on_its_connection(lambda: checker.get("/health/ready"))
                assert last.status_code == 503
                served = await last_on_its_connection(lambda: kept.post("/v1/chat/completions", json=BODY))
                assert served.status_code == 200
                async with asyncio.timeout(GUARD):  # newcomers are served, and then refused at once
                    while (late := await fresh(running, "/v1/chat/completions")).status_code == 200:
                        await asyncio.sleep(0.05)
                assert (late.status_code, late.json()["error"]["code"]) == (503, "shutting_down")
                assert late.headers["connection"] == "close"
                assert (await fresh(running, "/health/ready")).status_code == 503
                assert (await half.answer())[0] == 408, "half a body does not hold the drain"
            host.go.set()
            text = "".join([piece async for piece in stream.aiter_text()])
        assert text.rstrip().endswith("data: [DONE]")
        assert await exit_code(running) == 0
        assert "Traceback" not in log()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_still_runs_at_the_limit_ends_with_an_error_event(tmp_path: Path, workers: str) -> None:
    async with drained(tmp_path, workers, "0s", "1s") as (running, _, log):
        assert running.process is not None
        anthropic = {**SLOWLY, "max_tokens": 10}
        async with (
            running.client.stream("POST", "/v1/chat/completions", json=SLOWLY) as openai,
            running.client.stream("POST", "/v1/messages", json=anthropic) as messages,
        ):
            running.process.send_signal(signal.SIGTERM)
            said = "".join([piece async for piece in openai.aiter_text()])
            events = "".join([piece async for piece in messages.aiter_text()])
        last = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")][-1]
        assert last["error"]["code"] == "shutting_down"
        assert "[DONE]" not in said
        assert "event: error" in events
        assert await exit_code(running) == 0
        assert "requests in flight are ended" in log()
        assert "Traceback" not in log()


async def test_without_requests_it_ends_after_the_notice_and_at_once_by_ctrl_c(tmp_path: Path) -> None:
    async with drained(tmp_path, "2", "1000s", "2000s") as (running, _, _log):
        assert running.process is not None
        running.process.send_signal(signal.SIGINT)
        assert await exit_code(running) == 0
