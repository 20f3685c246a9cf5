"""What hosts do to the wire, and what becomes of the exchange: failover in time, plain words, no second asking unseen.

The wheel's timers never go off here, so whatever ends ends by itself.
"""

import asyncio
import gzip
import json
import zlib
from dataclasses import replace

import pytest

from gateway.types import Pick
from gateway.upstream.transport import connection
from tests.proxy.world import Make
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

GOOD = streams(chunks("Hello there"))
EVENTS = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks("Hello there")) + b"data: [DONE]\n\n"


async def never_ends(_: Received, out: Out) -> None:
    await out.head(503)
    await out.send(b'{"error": {"message": "overloaded"}}')
    await out.stall()


async def drips(_: Received, out: Out) -> None:
    await out.head(503, {"content-length": "100000"}, chunked=False)
    while True:
        await out.send(b" ")
        await asyncio.sleep(0.001)


async def says_nothing_more(_: Received, out: Out) -> None:
    await out.head(503)
    await out.stall()


async def comments(_: Received, out: Out) -> None:
    await out.head(200, {"content-type": "text/event-stream"})
    while True:
        await out.send(b": wait\n\n" * 10_000)


async def blank(_: Received, out: Out) -> None:
    await out.head(200)
    while True:
        await out.send(b"data:\n\n" * 10_000)


async def bomb(_: Received, out: Out) -> None:
    await answers(200, gzip.compress(bytes(200_000_000), 1), {"content-encoding": "gzip"})(_, out)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (never_ends, "server"),
        (drips, "server"),
        (says_nothing_more, "server"),
        (comments, "garbage"),
        (blank, "garbage"),
        (bomb, "garbage"),
        (answers(200, b"\x0b\x02\x80Hello\x03", {"content-encoding": "br"}), "garbage"),
    ],
)
async def test_the_next_endpoint_serves_without_a_clock(
    make: Make, script: Script, outcome: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ERROR_BODY_TIMEOUT", 0.05)
    async with ScriptedHost(script) as bad, ScriptedHost(GOOD) as good:
        world = make(bad, good)
        sink = await world.ask(stream)
        assert b"Hello" in sink.body
        assert [(row.endpoint, row.outcome) for row in world.rows()] == [("a", outcome), ("b", "ok")]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 529])
async def test_a_retry_after_shifts_the_next_requests(make: Make, status: int) -> None:
    errs = answers(status, {"error": {"message": "busy"}}, {"retry-after": "30"})
    async with ScriptedHost([errs, GOOD]) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        world.policy = replace(world.policy, pick=Pick(how="order", order=("a", "b"), explore=0.0))
        for _ in range(3):
            await world.ask(stream=True)
        assert [row.endpoint for row in world.rows()] == ["a", "b", "b", "b"]
        world.ahead += 31
        await world.ask(stream=True)
        assert world.rows()[-1].endpoint == "a"


@pytest.mark.parametrize("where", ["header", "field"])
async def test_so_does_one_of_an_error_inside_a_200(make: Make, where: str) -> None:
    error = {"error": {"message": "busy", "code": 503} | ({"retry_after": 30} if where == "field" else {})}
    errs = answers(200, error, {"retry-after": "30"} if where == "header" else {})
    async with ScriptedHost([errs]) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        world.policy = replace(world.policy, pick=Pick(how="order", order=("a", "b"), explore=0.0))
        for _ in range(2):
            await world.ask(stream=True)
        assert [row.endpoint for row in world.rows()] == ["a", "b", "b"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_stream_is_relayed_plain(make: Make, coding: str) -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS if coding == "gzip" else zlib.MAX_WBITS)

    async def packs(_: Received, out: Out) -> None:
        await out.head(200, {"content-type": "text/event-stream", "content-encoding": coding})
        for event in EVENTS.split(b"\n\n")[:-1]:
            await out.send(packer.compress(event + b"\n\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        await out.send(packer.flush())
        await out.end()

    async with ScriptedHost(packs) as host:
        world = make(host)
        sink = await world.ask(stream=True)
        assert b'"Hello"' in sink.body
        assert sink.body.endswith(b"data: [DONE]\n\n")
        assert b"content-encoding" not in dict(sink.headers)
        (row,) = world.rows()
        assert (row.outcome, row.usage_source) == ("ok", "host")


async def test_the_words_of_a_compressed_error_reach_the_client(make: Make) -> None:
    body = gzip.compress(json.dumps({"error": {"message": "messages must not be empty"}}).encode())
    async with ScriptedHost(answers(400, body, {"content-encoding": "gzip"})) as host:
        sink = await make(host).ask()
        assert sink.status == 400
        assert b"messages must not be empty" in sink.body


async def test_a_compressed_whole_answer_is_plain(make: Make) -> None:
    body = gzip.compress(json.dumps(completion("Hello")).encode())
    async with ScriptedHost(answers(200, body, {"content-encoding": "gzip"})) as host:
        sink = await make(host).ask()
        assert json.loads(sink.body)["choices"][0]["message"]["content"] == "Hello"
