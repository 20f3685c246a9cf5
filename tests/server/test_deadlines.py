"""Slow and silent clients over real connections, with deadlines of tenths of a second."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from gateway.server import connections
from gateway.server.connections import SPARE
from tests.support.client import CHAT, Connection, connected, question, request
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import Out, Received, Script, ScriptedHost, answers, completion

pytestmark = DIRECT_ONLY  # other servers have deadlines of their own
MODELS = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
LONG = 3_600.0
PATIENT = replace(
    connections.DEADLINES, first=LONG, head=LONG, stalled=LONG, grace=LONG, unread=LONG, idle=LONG, look=0.02
)
Patience = Callable[..., None]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    """Sets some deadlines of the next gateway; the others are an hour."""

    def has(**deadlines: float) -> None:
        monkeypatch.setattr(connections, "DEADLINES", replace(PATIENT, **deadlines))

    return has


def answers_after(ready: asyncio.Event) -> Script:
    async def script(request: Received, out: Out) -> None:
        await ready.wait()
        await answers(200, completion("Hi"))(request, out)

    return script


async def timed_out(connection: Connection) -> None:
    status, headers, body = await connection.answer()
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(body)["error"]["code"] == "request_timeout"
    assert await connection.closed()


async def test_a_silent_connection_is_closed(patience: Patience, gateway: Gateway) -> None:
    patience(first=0.05)
    async with gateway({}) as running, connected(running) as connection:
        assert await connection.closed()


@pytest.mark.parametrize("sent", [b"P", CHAT, CHAT + b"x-a: b", b"GET / HTTP/1.1\r\n"])
async def test_a_head_that_never_ends_is_a_408(sent: bytes, patience: Patience, gateway: Gateway) -> None:
    patience(head=0.05)
    async with gateway({}) as running, connected(running) as connection:
        await connection.send(sent)
        await timed_out(connection)


HALF = question()[:-5]
BODIES = {
    "hot": CHAT + b"content-length: 999\r\n\r\n" + HALF,
    "nothing of it": CHAT + b"content-length: 999\r\n\r\n",
    "chunked": CHAT + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(HALF) + HALF,
    "over uvicorn": CHAT.replace(b"ns ", b"ns?a=b ") + b"content-length: 999\r\n\r\n" + HALF,
    "to a path that is not there": CHAT.replace(b"/v1", b"/v2") + b"content-length: 999\r\n\r\n" + HALF,
}


@pytest.mark.parametrize("sent", [BODIES["hot"], BODIES["nothing of it"], BODIES["chunked"], BODIES["over uvicorn"]])
@pytest.mark.parametrize("deadline", ["stalled", "grace"])
async def test_a_body_that_never_ends_is_a_408(
    sent: bytes, deadline: str, patience: Patience, gateway: Gateway
) -> None:
    patience(**{deadline: 0.05})
    async with gateway({}) as running, connected(running) as connection:
        await connection.send(sent)
        await timed_out(connection)


@pytest.mark.parametrize("sent", BODIES.values(), ids=list(BODIES))
async def test_a_half_sent_body_does_not_hold_a_drain(sent: bytes, patience: Patience, gateway: Gateway) -> None:
    patience(drained=0.05, unread=0.05)
    async with gateway({}) as running, connected(running) as connection:
        await connection.send(sent)
        while not running.server or not running.server.server_state.connections:
            await asyncio.sleep(0)
        await running.client.aclose()
    assert await connection.closed() or (await connection.head()).startswith(b"HTTP/1.1 4")


async def test_a_connection_is_closed_when_it_is_idle_for_long(patience: Patience, gateway: Gateway) -> None:
    patience(idle=0.05)
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}) as running,
    ):
        for sent in (request(question()), b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"):
            async with connected(running) as connection:
                await connection.send(sent)
                assert (await connection.answer())[0] == 200
                assert await connection.closed()


async def test_the_rest_of_a_refused_body_is_not_waited_for(patience: Patience, gateway: Gateway) -> None:
    patience(unread=0.05)
    async with gateway({}, max_body="1KiB") as running:
        for path in (b"ns ", b"ns?a=b "):
            async with connected(running) as connection:
                await connection.send(CHAT.replace(b"ns ", path) + b"content-length: 999999\r\n\r\n" + b"x" * 2_000)
                assert (await connection.answer())[0] == 413
                assert await connection.closed()


async def test_an_answer_that_takes_long_is_not_cut_off(patience: Patience, gateway: Gateway) -> None:
    """Nor one that has half a request behind it."""
    patience(first=0.05, head=0.05, stalled=0.05, grace=0.05, idle=0.05, unread=0.05)
    ready = asyncio.Event()

    async with (
        ScriptedHost(answers_after(ready)) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as one,
        connected(running) as two,
    ):
        await one.send(request(question()))
        await two.send(request(question()), b"POST /v1/cha")
        await host.until(lambda: len(host.requests) == 2)
        await asyncio.sleep(0.3)
        ready.set()
        for connection in (one, two):
            assert (await connection.answer())[0] == 200
        await timed_out(two)


async def test_bytes_that_are_no_http_behind_a_request_do_not_spoil_its_answer(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        await connection.send(request(question()) + b"\x16\x03\x01\r\n\r\n")
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["object"]) == (200, "chat.completion")
        assert await connection.closed()


async def test_idle_connections_make_room_for_newcomers(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.most_connections", lambda: 3)
    async with (
        gateway({}) as running,
        connected(running) as first,
        connected(running) as second,
        connected(running) as third,
    ):
        for connection in (first, second, third):
            await connection.send(MODELS)
            assert (await connection.answer())[0] == 200
        async with connected(running) as newcomer:
            await newcomer.send(MODELS)
            assert (await newcomer.answer())[0] == 200
        closed = [asyncio.ensure_future(one.closed()) for one in (first, second, third)]
        done, others = await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED)
        assert all(one.result() for one in done)
        for other in others:
            other.cancel()


async def test_a_newcomer_gets_an_error_when_everybody_is_busy(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.app.most_connections", lambda: 1)
    never = asyncio.Event()
    async with (
        ScriptedHost(answers_after(never)) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as busy,
    ):
        await busy.send(request(question()))
        await host.until(lambda: len(host.requests) == 1)
        for sent in (request(question()), CHAT + b"content-length: 15900000\r\n\r\n", CHAT + b"\r\n", MODELS):
            async with connected(running) as newcomer:
                await newcomer.send(sent)
                status, headers, body = await newcomer.answer()
                assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
                assert b"limit of connections" in body
        never.set()
        assert (await busy.answer())[0] == 200
        assert await running.metric("gateway_shed_total", reason="connections") == 4


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_health_and_metrics_answer_when_everybody_is_busy(
    path: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind connections that were opened to keep them out, and send nothing."""
    monkeypatch.setattr("gateway.app.most_connections", lambda: 1)
    never = asyncio.Event()
    async with (
        ScriptedHost(answers_after(never)) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as busy,
        AsyncExitStack() as stack,
    ):
        await busy.send(request(question()))
        await host.until(lambda: len(host.requests) == 1)
        silent = [await stack.enter_async_context(connected(running)) for _ in range(SPARE + 1)]
        async with connected(running) as probe:
            await probe.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            assert (await probe.answer())[0] == 200
            assert await probe.closed()
        assert await silent[0].closed()
        never.set()
        assert (await busy.answer())[0] == 200
