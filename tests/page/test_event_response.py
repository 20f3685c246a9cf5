"""A stream of events as an ASGI response: compressed piece by piece, and over when the client is."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from gateway.page import event_response
from gateway.page.event_response import GZIP, EventResponse


async def pieces(*given: bytes, then: asyncio.Event | None = None) -> AsyncGenerator[bytes]:
    for one in given:
        yield one
    if then is not None:
        await then.wait()


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_each_piece_can_be_read_at_once() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await EventResponse(pieces(b"one\n\n", b"two\n\n"), {"x": "y"}, gzip=True, closed=lambda: None)({}, never, send)
    start, *bodies, end = sent
    assert start["status"] == 200
    assert (b"content-encoding", b"gzip") in start["headers"]
    unpack = zlib.decompressobj(GZIP)
    assert [unpack.decompress(one["body"]) for one in bodies] == [b"one\n\n", b"two\n\n"]
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_without_gzip_it_is_plain_text() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await EventResponse(pieces(b"one\n\n"), {}, gzip=False, closed=lambda: None)({}, never, send)
    assert [one.get("body") for one in sent] == [None, b"one\n\n", b""]
    assert (b"content-type", b"text/event-stream") in sent[0]["headers"]


async def test_a_client_that_leaves_ends_it() -> None:
    leaves = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            leaves.set()

    async with asyncio.timeout(60):
        await EventResponse(pieces(b"one", then=asyncio.Event()), {}, gzip=False, closed=lambda: None)(
            {}, receive, send
        )


async def test_a_client_that_takes_nothing_more_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_response, "PATIENCE", 0.01)
    begun: list[bytes] = []

    async def send(message: Any) -> None:
        if message.get("body"):
            begun.append(message["body"])
            await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await EventResponse(pieces(b"one", b"two", then=asyncio.Event()), {}, gzip=False, closed=lambda: None)(
            {}, never, send
        )
    assert begun == [b"one"]


async def test_a_fault_of_ours_is_not_hidden() -> None:
    async def broken() -> AsyncGenerator[bytes]:
        yield b"one"
        raise ValueError("ours")

    async def send(_: Any) -> None: ...

    with pytest.raises(ValueError, match="ours"):
        await EventResponse(broken(), {}, gzip=False, closed=lambda: None)({}, never, send)
