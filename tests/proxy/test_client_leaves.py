"""A client that leaves frees its host at once and is booked; one that is slow holds its host back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.types.sink import Headers
from tests.proxy.routed import ROLE, STOP, WORD, Routed, chunk, full, outcomes, payloads, rows, says, stalls, until
from tests.proxy.world import Make
from tests.support.gateway import Running
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, streams

BODY = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi " * 100}]}
PIECE = chunk({"content": "x" * 65_536})
MANY = 800  # pieces: 50 MB


async def leaves_after(running: Running, host: ScriptedHost, stream: bool) -> None:
    """Ask, wait until the host has the request, and go."""
    asked = asyncio.create_task(running.client.post("/v1/chat/completions", json={**BODY, "stream": stream}))
    await until(lambda: len(host.requests) == 1)
    asked.cancel()
    await asyncio.wait({asked})


@pytest.mark.parametrize("stream", [True, False])
async def test_while_waiting(stream: bool, routed: Routed) -> None:
    async with ScriptedHost(stalls) as host, routed(host) as running:
        await leaves_after(running, host, stream)
        await host.until(lambda: host.gone == 1)
        await until(lambda: bool(rows(running)))
        (row,) = rows(running)
        assert (row.outcome, row.client_status, row.last, row.ttft) == ("cancelled", 499, True, None)
        assert (row.usage_source, row.prompt_tokens, row.cost > 0) == ("estimated", 20, True), "a quarter of some 80"
        assert row.completion_tokens == 0, "the host was asked to stream"


async def test_while_its_head_is_written(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink says so in the middle of a decision, which is carried out before that counts."""
    async with ScriptedHost(says(ROLE, WORD, then="stall")) as host:
        world = make(host)
        sink = world.send(stream=True)
        start = sink.start

        def leaves(status: int, headers: Headers) -> None:
            start(status, headers)
            assert sink.source is not None
            sink.source.gone()

        monkeypatch.setattr(sink, "start", leaves)
        await host.until(lambda: host.gone == 1)
        (row,) = world.rows()
        assert (row.outcome, row.client_status, row.last) == ("cancelled", 499, True)
        assert row.client_ttft is not None, "the answer had begun"


@pytest.mark.parametrize(("habit", "completion_tokens"), [("stops", 0), ("bills", 20)])
async def test_what_a_host_is_known_to_bill_is_booked(habit: str, completion_tokens: int, routed: Routed) -> None:
    settings = {"endpoint": {"cancel": habit}}
    async with ScriptedHost(stalls) as host, routed(host, settings=settings) as running:
        asked = asyncio.create_task(running.chat(stream=True, max_tokens=20))
        await until(lambda: len(host.requests) == 1)
        asked.cancel()
        await until(lambda: bool(rows(running)))
        assert rows(running)[0].completion_tokens == completion_tokens


async def test_before_a_connection_was_made_nothing_is_billed(routed: Routed) -> None:
    with full() as url:
        async with routed(url, timeouts={"connect": "10s"}) as running:
            asked = asyncio.create_task(running.chat(stream=True))
            while not await running.metric("gateway_in_flight"):
                pass
            asked.cancel()
            await until(lambda: bool(rows(running)))
            assert (rows(running)[0].outcome, rows(running)[0].usage_source) == ("cancelled", "none")


async def test_while_streaming(routed: Routed) -> None:
    async def script(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(ROLE + WORD + WORD)
        await out.stall()

    async with ScriptedHost(script) as host, routed(host) as running:
        async with running.client.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as response:
            assert b"Hello" in await anext(response.aiter_raw())
        await host.until(lambda: host.gone == 1)
        await until(lambda: bool(rows(running)))
        (row,) = rows(running)
        assert (row.outcome, row.client_status, row.usage_source) == ("cancelled", 499, "estimated")
        assert row.ttft is not None
        assert row.client_ttft is not None
        assert row.completion_tokens == 2
        assert row.prompt_tokens > 50


async def test_between_two_attempts(routed: Routed) -> None:
    async with (
        ScriptedHost(answers(500, {})) as first,
        ScriptedHost(stalls) as second,
        routed(first, second) as running,
    ):
        await leaves_after(running, second, stream=True)
        await second.until(lambda: second.gone == 1)
        await until(lambda: len(rows(running)) == 2)
        assert outcomes(running) == [("a/fp8", "server"), ("b/fp8", "cancelled")]


async def test_after_the_end_it_is_no_cancel(routed: Routed) -> None:
    async with (
        ScriptedHost(streams(chunks("Hello"))) as host,
        routed(host) as running,
    ):
        async with running.client.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as response:
            async for part in response.aiter_raw():
                if b"[DONE]" in part:
                    break
        await until(lambda: bool(rows(running)))
        assert outcomes(running) == [("a/fp8", "ok")]


async def test_a_slow_client_holds_its_host_back(routed: Routed) -> None:
    sent = 0

    async def script(_: Received, out: Out) -> None:
        nonlocal sent
        await out.head(200)
        await out.send(ROLE)
        for _ in range(MANY):
            await out.send(PIECE)
            sent += 1
        await out.send(STOP + b"data: [DONE]\n\n")
        await out.end()

    async with ScriptedHost(script) as host, routed(host) as running:
        async with Slow(running) as response:
            await still(lambda: sent)
            assert sent < MANY / 4, "the host was not held back"
            text = b"".join([part async for part in response])
        assert text.replace(b": null", b":null").count(b'"finish_reason":null') == MANY + 1
        assert b"data: [DONE]" in text
        assert outcomes(running) == [("a/fp8", "ok")]


async def test_a_slow_client_is_no_silence_of_the_host(routed: Routed) -> None:
    """A client that takes nothing for longer than the gap still gets the whole answer."""
    held = asyncio.Event()

    async def script(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(ROLE)
        for _ in range(MANY):
            await out.send(PIECE)
        await out.send(STOP + b"data: [DONE]\n\n")
        await out.end()

    async with (
        ScriptedHost(script) as host,
        routed(host, timeouts={"gap": "2s"}) as running,
    ):
        async with Slow(running) as response:
            asyncio.get_running_loop().call_later(2.5, held.set)  # longer than the gap
            await held.wait()
            text = b"".join([part async for part in response])
        assert b"data: [DONE]" in text
        assert outcomes(running) == [("a/fp8", "ok")]


async def test_a_slow_client_that_leaves(routed: Routed) -> None:
    sent = 0

    async def script(_: Received, out: Out) -> None:
        nonlocal sent
        await out.head(200)
        await out.send(ROLE)
        while True:
            await out.send(PIECE)
            sent += 1

    async with ScriptedHost(script) as host, routed(host) as running:
        async with Slow(running):
            await still(lambda: sent)
        await host.until(lambda: host.gone == 1)
        await until(lambda: bool(rows(running)))
        assert outcomes(running) == [("a/fp8", "cancelled")]


async def test_many_streams_at_once_do_not_mix(routed: Routed) -> None:
    async def script(request: Received, out: Out) -> None:
        word = request.json()["messages"][0]["content"]
        answer = [word] * 20
        await streams(chunks(" ".join(answer)), pause=lambda: asyncio.sleep(0))(request, out)

    async def ask(running: Running, number: int) -> None:
        response = await running.chat(f"w{number}", stream=True)
        said = "".join(one["choices"][0]["delta"].get("content", "") for one in payloads(response.text))
        assert said == " ".join([f"w{number}"] * 20)

    async with ScriptedHost(script) as host, routed(host) as running:
        await asyncio.gather(*(ask(running, number) for number in range(50)))
        assert len(rows(running)) == 50


async def still(count: Callable[[], int]) -> None:
    """Wait until something has begun to be counted, and nothing moves any more."""
    before = 0
    while count() != before or not before:
        before = count()
        await asyncio.sleep(0.1)


class Slow:
    """A client that asks for a stream and does not read until it is iterated."""

    def __init__(self, running: Running) -> None:
        self._where = urlsplit(running.url)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self._where.hostname, self._where.port))
        request = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions", json={**BODY, "stream": True})
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        reader, self._writer = await asyncio.open_connection(sock=sock, limit=4096)
        self._writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode())
        self._writer.write(request.content)
        return self._parts(reader)

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def _parts(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while part := await reader.read(1 << 20):
            yield part
