"""Hot routes over a connection: which requests are taken, however they are cut, and how connections live on."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.server.direct_sink import DirectSink
from gateway.server.protocol import HotProtocol
from tests.server.test_asgi import Source
from tests.support.client import CHAT, Connection, connected, question, request
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.upstream.recorder import BOTH_LOOPS

BODY = question()
REQUEST = request(BODY)


@pytest.fixture
async def running(gateway: Gateway) -> AsyncIterator[Running]:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway({"a/fp8": host.url}) as running,
    ):
        yield running


@pytest.fixture
async def connection(running: Running) -> AsyncIterator[Connection]:
    async with connected(running) as connection:
        yield connection


def said(body: bytes) -> str:
    return json.loads(body)["choices"][0]["message"]["content"]


async def test_one_connection_serves_request_after_request(connection: Connection) -> None:
    for _ in range(3):
        await connection.send(REQUEST)
        status, headers, body = await connection.answer()
        assert (status, said(body)) == (200, "hello")
        assert "connection" not in headers


async def test_a_request_cut_anywhere_is_the_same_request(connection: Connection) -> None:
    for cut in range(1, len(REQUEST), 7):
        await connection.send(REQUEST[:cut], REQUEST[cut:])
        assert (await connection.answer())[0] == 200


async def test_a_chunked_request_body(connection: Connection) -> None:
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:])) + b"0\r\n\r\n"
    await connection.send(CHAT + b"transfer-encoding: chunked\r\n\r\n", chunked)
    assert said((await connection.answer())[2]) == "hello"


async def test_pipelined_requests_are_answered_in_order(connection: Connection) -> None:
    models = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
    await connection.send(REQUEST + models + REQUEST)
    assert said((await connection.answer())[2]) == "hello"
    assert json.loads((await connection.answer())[2])["object"] == "list"
    assert said((await connection.answer())[2]) == "hello"


async def test_close_is_honoured(connection: Connection) -> None:
    await connection.send(request(BODY, b"connection: close"))
    status, headers, _ = await connection.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await connection.closed()


async def test_expect_continue_goes_the_long_way(connection: Connection) -> None:
    await connection.send(CHAT + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
    async with asyncio.timeout(60):
        assert b"100 Continue" in await connection.reader.readuntil(b"\r\n\r\n")
    await connection.send(BODY)
    assert said((await connection.answer())[2]) == "hello"


@pytest.mark.parametrize("nameless", [False, True])
async def test_http_1_0_gets_an_answer_and_a_close(connection: Connection, nameless: bool) -> None:
    sent = REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0")
    await connection.send(sent.replace(b"host: localhost\r\n", b"") if nameless else sent)
    assert (await connection.answer())[0] == 200
    assert await connection.closed()


async def test_an_upgrade_is_not_taken(connection: Connection) -> None:
    await connection.send(request(BODY, b"connection: upgrade", b"upgrade: h2c"))
    assert (await connection.answer())[0] in (200, 400)


async def test_a_query_string_is_served_too(connection: Connection) -> None:
    await connection.send(REQUEST.replace(b"/completions ", b"/completions?api-version=1 "))
    assert said((await connection.answer())[2]) == "hello"


async def test_bytes_that_are_no_http_are_refused(connection: Connection) -> None:
    await connection.send(b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert (await connection.answer())[0] == 400


@DIRECT_ONLY
async def test_an_invalid_body_gets_one_response(connection: Connection) -> None:
    """The route of this path has begun when the body turns out to be none. uvicorn's own connection closes at once."""
    head = b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    await connection.send(head + b"this is no chunk\r\n")
    assert (await connection.answer())[0] == 400
    connection.writer.write_eof()
    assert await connection.closed()


async def test_the_wrong_method_is_named(connection: Connection) -> None:
    await connection.send(REQUEST.replace(b"POST", b"PUT"))
    status, _, body = await connection.answer()
    assert status == 405
    assert json.loads(body)["error"]["message"]


@DIRECT_ONLY
@pytest.mark.parametrize("sent", [0, 500, 4000, 100_000])
async def test_a_refused_body_ends_its_connection(sent: int, gateway: Gateway) -> None:
    """Only this connection closes: uvicorn's own goes on reading, and throws it away."""
    async with gateway({}, max_body="1KiB") as running, connected(running) as connection:
        await connection.send(CHAT + b"content-length: 100000\r\n\r\n" + b"x" * sent)
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (413, "close")
        await connection.send(b"x" * (100_000 - sent))
        assert await connection.closed()


@pytest.mark.parametrize("lines", [b"", b"expect: 100-continue\r\n"])
async def test_a_promised_body_over_the_limit_is_not_waited_for(lines: bytes, gateway: Gateway) -> None:
    async with gateway({}, max_body="1KiB") as running, connected(running) as connection:
        await connection.send(CHAT + lines + b"content-length: 3000\r\n\r\n")
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")


async def test_a_large_body_in_many_writes_arrives_whole(gateway: Gateway) -> None:
    body = question(messages=[{"role": "user", "content": "0123456789" * 30_000}])
    whole = request(body)
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        await connection.send(*(whole[start : start + 1000] for start in range(0, len(whole), 1000)))
        assert said((await connection.answer())[2]) == "hello"
        assert host.requests[0].json()["messages"] == json.loads(body)["messages"]


@DIRECT_ONLY
async def test_a_head_without_end_is_refused(connection: Connection) -> None:
    """Other servers have limits of their own."""
    line = b"x-filler: " + b"x" * 1000 + b"\r\n"
    connection.writer.write(CHAT + line * 80)
    status, headers, body = await connection.answer()
    assert (status, headers["connection"]) == (431, "close")
    assert json.loads(body)["error"]["code"] == "headers_too_large"


async def test_what_is_pipelined_behind_a_close_is_not_sent_to_a_host(connection: Connection) -> None:
    refused = CHAT + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
    await connection.send(refused + REQUEST)
    assert (await connection.answer())[0] == 400
    assert await connection.closed()


async def test_a_client_that_reads_nothing_holds_up_the_next_answer_too(gateway: Gateway) -> None:
    """The connection is full when the second request comes: its host is paused from the start."""
    long = "x" * 4_000_000
    sent = 0

    async def endless(request: Received, out: Out) -> None:
        nonlocal sent
        await out.head(200, {"content-type": "text/event-stream"})
        for event in chunks("first"):
            await out.send(b"data: " + json.dumps(event).encode() + b"\n\n")
            break
        piece = (
            b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "y" * 60_000}}]}).encode() + b"\n\n"
        )
        for _ in range(1_500):
            await out.send(piece)
            sent += 1

    async with (
        ScriptedHost([answers(200, completion(long)), endless]) as host,
        gateway({"a/fp8": host.url}) as running,
    ):
        address = urlsplit(running.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
        writer.write(REQUEST)
        await host.until(lambda: len(host.requests) == 1)
        writer.write(request(question(stream=True)))
        await host.until(lambda: len(host.requests) == 2)
        before = -1
        while before != sent:  # until the host is held up
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 1_000, "90 MB were taken for a client that reads nothing"
        writer.transport.abort()
        await host.until(lambda: host.gone == 1)


async def test_a_stream_keeps_its_connection(gateway: Gateway) -> None:
    async with (
        ScriptedHost(streams(chunks("hello"))) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        for _ in range(2):
            await connection.send(request(question(stream=True)))
            status, headers, answer = await connection.answer()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert answer.endswith(b"data: [DONE]\n\n")
        assert host.accepted == 1


async def test_each_event_arrives_before_the_next_is_sent(gateway: Gateway) -> None:
    heard = asyncio.Semaphore(0)
    async with (
        ScriptedHost(streams(chunks("one two three four"), pause=heard.acquire)) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        await connection.send(request(question(stream=True)))
        heard.release()  # the role alone is no token
        await connection.head()
        for word in (b"one", b"two", b"three", b"four"):
            assert word in await connection.chunk()
            heard.release()


@pytest.mark.parametrize("loop", BOTH_LOOPS)
def test_small_writes_to_clients_are_not_delayed(loop: str, gateway: Gateway) -> None:
    """TCP_NODELAY is the loop's doing."""

    async def asked() -> None:
        async with gateway({}) as running, connected(running) as connection:
            await connection.send(request(b"{"))
            await connection.answer()
            assert running.server is not None
            (protocol,) = running.server.server_state.connections
            sock = protocol.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with asyncio.Runner(loop_factory=BOTH_LOOPS[loop]) as runner:
        runner.run(asked())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, len(REQUEST) - 1), max_size=6, unique=True))
async def test_any_split_is_the_same_request(connection: Connection, cuts: list[int]) -> None:
    borders = pairwise([0, *sorted(cuts), len(REQUEST)])
    await connection.send(*(REQUEST[start:end] for start, end in borders))
    assert said((await connection.answer())[2]) == "hello"


async def test_an_abort_closes_the_connection_and_notifies_no_one() -> None:
    reader, writer = await asyncio.open_connection(sock=(ends := socket.socketpair())[0])
    transport = writer.transport
    protocol = SimpleNamespace(
        transport=transport,
        server_state=SimpleNamespace(default_headers=[]),
        flow=SimpleNamespace(write_paused=False),
        heading=lambda _, headers: headers,
    )
    sink, source = DirectSink(cast(HotProtocol, protocol), lambda _, __: None, True, {}), Source()
    sink.attach(source)
    sink.start(200, [])
    sink.write(b"x" * 10_000_000)  # more than the client takes
    sink.abort()
    sink.left()
    assert source.heard == []
    assert await reader.read() == b""
    ends[1].close()
    writer.close()
