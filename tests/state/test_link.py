"""A link keeps one connection, tells once that the store fails or is back, and waits longer after each failure."""

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.state.link import Link, repeat
from gateway.state.store_error import ErrorReply
from tests.support.valkey import running
from tests.support.wire import talker, wire


def link(url: str) -> Link:
    return Link(url, "clerk", "nothing is filed")


async def test_one_connection_answers_everything_and_refusals_are_answers(engine: str) -> None:
    async with wire(engine) as proxy:
        asking = link(proxy.url)
        assert await asking.execute("PING") == b"PONG"
        with pytest.raises(ErrorReply, match="the store rejected NOSUCHCOMMAND: ERR unknown command") as refusal:
            await asking.execute("NOSUCHCOMMAND")
        assert refusal.value.code == "ERR"
        assert await asking.execute("ECHO", b"again") == b"again"
        assert proxy.connections == 1
        asking.close()


async def test_a_line_that_was_cut_is_an_error_once(engine: str) -> None:
    async with wire(engine) as proxy:
        asking = link(proxy.url)
        await asking.execute("PING")
        proxy.close()
        with pytest.raises(OSError, match=r"closed the connection|reset|broken"):
            await asking.execute("PING")
        assert await asking.execute("PING") == b"PONG"
        assert proxy.connections == 2
        asking.close()


async def test_a_late_reply_is_not_read_as_the_next_ones(engine: str) -> None:
    async with wire(engine) as proxy:
        asking = link(proxy.url)
        await asking.execute("PING")
        proxy.hold()
        late = asyncio.create_task(asking.execute("ECHO", b"late"))
        while not proxy.held:
            await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        proxy.release()
        assert await asking.execute("ECHO", b"next") == b"next"
        asking.close()


async def test_a_store_that_fails_and_comes_back_is_reported_once_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as url:
        pass
    asking = link(url)

    async def step() -> None:
        await asking.execute("PING")

    assert not await asking.attempt(step)
    assert not await asking.attempt(step)
    assert "not reached" in repr(asking)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith("clerk: nothing is filed: ")
    with running(tmp_path):
        assert await asking.attempt(step)
        assert await asking.attempt(step)
        asking.close()
    assert "store up" in repr(asking)
    assert caplog.messages[1:] == ["clerk: the store is back"]


async def test_a_first_success_is_no_news(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    asking = link(engine)

    async def step() -> None:
        await asking.execute("PING")

    assert await asking.attempt(step)
    assert not caplog.messages
    asking.close()


async def test_what_is_no_fault_of_the_store_is_not_taken_for_one(engine: str) -> None:
    async def step() -> None:
        raise LookupError("a fault of ours")

    with pytest.raises(LookupError):
        await link(engine).attempt(step)


async def test_what_answers_but_is_no_store_is_an_error() -> None:
    async with talker(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(OSError, match="Redis"):
            await link(url).execute("PING")


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        link("http://example.com")


async def test_waits_grow_while_it_fails_and_are_short_again_after_a_success() -> None:
    results = iter([True, False, False, False, False, False, True, False])
    waits: list[float] = []

    async def work() -> bool:
        return next(results)

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await repeat(work, 8.0, pause)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 1.0, 2.0]
