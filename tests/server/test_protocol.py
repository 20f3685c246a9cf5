"""The short way for hot routes: what it takes, what it hands to uvicorn, and how connections live on."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.server.protocol import DirectSink, HotProtocol
from tests.server.test_asgi import Source
from tests.support.gateway import Running, gateway
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

BODY = json.dumps({"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
REQUEST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


class Connection:
    """A client's connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            if "content-length" in headers:
                return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return int(head[0].split()[1]), headers, body

    async def closed(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read(1) == b""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway(tmp_path, {"a/fp8": host.url}) as running,
    ):
        yield running


@pytest.fixture
async def connection(running: Running) -> AsyncIterator[Connection]:
    address = urlsplit(running.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    yield Connection(reader, writer)
    writer.close()
    await writer.wait_closed()


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
    await connection.send(HEAD + b"transfer-encoding: chunked\r\n\r\n", chunked)
    assert said((await connection.answer())[2]) == "hello"


async def test_pipelined_requests_are_answered_in_order(connection: Connection) -> None:
    models = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n"
    await connection.send(REQUEST + models + REQUEST)
    assert said((await connection.answer())[2]) == "hello"
    assert json.loads((await connection.answer())[2])["object"] == "list"
    assert said((await connection.answer())[2]) == "hello"


async def test_close_is_honoured(connection: Connection) -> None:
    await connection.send(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
    status, headers, _ = await connection.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await connection.closed()


async def test_expect_continue_goes_the_long_way(connection: Connection) -> None:
    await connection.send(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
    async with asyncio.timeout(10):
        assert b"100 Continue" in await connection.reader.readuntil(b"\r\n\r\n")
    await connection.send(BODY)
    assert said((await connection.answer())[2]) == "hello"


async def test_http_1_0_gets_an_answer_and_a_close(connection: Connection) -> None:
    await connection.send(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await connection.answer())[0] == 200
    assert await connection.closed()


async def test_an_upgrade_is_not_taken(connection: Connection) -> None:
    upgrade = HEAD + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    await connection.send(upgrade + BODY)
    assert (await connection.answer())[0] in (200, 400)


async def test_a_query_string_is_served_too(connection: Connection) -> None:
    await connection.send(REQUEST.replace(b"/completions ", b"/completions?api-version=1 "))
    assert said((await connection.answer())[2]) == "hello"


async def test_bytes_that_are_no_http_are_refused(connection: Connection) -> None:
    await connection.send(b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert (await connection.answer())[0] == 400
    assert await connection.closed()


async def test_the_wrong_method_is_told_so(connection: Connection) -> None:
    await connection.send(REQUEST.replace(b"POST", b"PUT"))
    status, _, body = await connection.answer()
    assert status == 405
    assert json.loads(body)["error"]["message"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway(tmp_path, {"a/fp8": host.url}, max_body="1KiB") as running,
    ):
        address = urlsplit(running.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        connection = Connection(reader, writer)
        await connection.send(HEAD + b"content-length: 100000\r\n\r\n" + b"x" * 4000)
        status, headers, body = await connection.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(body)["error"]["code"] == "request_too_large"
        assert await connection.closed()
        assert host.requests == []
        writer.close()


async def test_a_promised_body_over_the_limit_is_not_waited_for(tmp_path: Path) -> None:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway(tmp_path, {"a/fp8": host.url}, max_body="1KiB") as running,
    ):
        address = urlsplit(running.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        connection = Connection(reader, writer)
        await connection.send(HEAD + b"content-length: 3000\r\n\r\n")
        assert (await connection.answer())[0] == 413
        await connection.send(b"x" * 3000)
        assert await connection.closed()
        writer.close()


async def test_a_head_without_end_is_refused(connection: Connection) -> None:
    line = b"x-filler: " + b"x" * 1000 + b"\r\n"
    connection.writer.write(HEAD + line * 80)
    async with asyncio.timeout(10):
        assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 431 ")
    assert await connection.closed()


async def test_what_is_pipelined_behind_a_close_is_not_sent_to_a_host(connection: Connection) -> None:
    refused = HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
    await connection.send(refused + REQUEST)
    assert (await connection.answer())[0] == 400
    assert await connection.closed()


async def test_a_client_that_reads_nothing_holds_up_the_next_answer_too(tmp_path: Path) -> None:
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
        gateway(tmp_path, {"a/fp8": host.url}) as running,
    ):
        address = urlsplit(running.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
        stream = BODY[:-1] + b', "stream": true}'
        writer.write(REQUEST)
        await host.until(lambda: len(host.requests) == 1)
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(stream) + stream)
        await host.until(lambda: len(host.requests) == 2)
        before = -1
        while before != sent:  # until the host is held up
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 1_000, "90 MB were taken for a client that reads nothing"
        writer.transport.abort()
        await host.until(lambda: host.gone == 1)


async def test_a_stream_keeps_its_connection(tmp_path: Path) -> None:
    async with (
        ScriptedHost(streams(chunks("hello"))) as host,
        gateway(tmp_path, {"a/fp8": host.url}) as running,
    ):
        address = urlsplit(running.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        connection = Connection(reader, writer)
        body = BODY[:-1] + b', "stream": true}'
        for _ in range(2):
            await connection.send(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            status, headers, answer = await connection.answer()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert answer.endswith(b"data: [DONE]\n\n")
        assert host.accepted == 1
        writer.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, len(REQUEST) - 1), max_size=6, unique=True))
async def test_any_split_is_the_same_request(connection: Connection, cuts: list[int]) -> None:
    borders = pairwise([0, *sorted(cuts), len(REQUEST)])
    await connection.send(*(REQUEST[start:end] for start, end in borders))
    assert said((await connection.answer())[2]) == "hello"


async def test_an_abort_closes_the_connection_and_tells_nobody() -> None:
    reader, writer = await asyncio.open_connection(sock=(ends := socket.socketpair())[0])
    transport = writer.transport
    protocol = SimpleNamespace(
        transport=transport,
        server_state=SimpleNamespace(default_headers=[]),
        flow=SimpleNamespace(write_paused=False),
    )
    sink, source = DirectSink(cast(HotProtocol, protocol), lambda _, __: None, keep_alive=True), Source()
    sink.attach(source)
    sink.start(200, [])
    sink.write(b"x" * 10_000_000)  # more than the client takes
    sink.abort()
    sink.left()
    assert source.heard == []
    assert await reader.read() == b""
    ends[1].close()
    writer.close()
