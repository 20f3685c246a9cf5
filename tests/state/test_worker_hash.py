"""A board holds one value for each worker; what is old, of another version or nonsense is not read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from gateway.route.posted import Posted
from gateway.state.link import Link
from gateway.state.store_error import Execute, StoreError
from gateway.state.worker_hash import EXPIRY, WorkerHash

KEY = "gw:board-test"
AT = 1_700_000_000.25  # the store's time, as the tests have it


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Execute]:
    link = Link(url, "peers", "they share nothing")
    try:
        yield link.execute
    finally:
        link.close()


async def test_each_reads_what_the_others_wrote_last(engine: str, client: redis.Redis) -> None:
    async with asking(engine) as ask:
        one, two, three = (WorkerHash(KEY, 1, name) for name in (b"one", b"two", b"three"))
        await one.write(ask, b"before", AT)
        await one.write(ask, b"a value \x00\xff", AT + 1)
        await two.write(ask, b"", AT + 2)
        assert await three.read(ask, AT + 3) == [
            Posted(b"one", AT + 1, 2.0, b"a value \x00\xff"),
            Posted(b"two", AT + 2, 1.0, b""),
        ]
        assert [entry.worker for entry in await one.read(ask, AT + 3)] == [b"two"]
        assert 0 < client.ttl(KEY) <= EXPIRY


async def test_a_worker_that_writes_no_more_is_forgotten(engine: str, client: redis.Redis) -> None:
    async with asking(engine) as ask:
        one, two = WorkerHash(KEY, 1, b"one"), WorkerHash(KEY, 1, b"two")
        await one.write(ask, b"x", AT)
        assert await two.read(ask, AT + EXPIRY) != []
        assert await two.read(ask, AT + EXPIRY + 1) == []
        assert not client.exists(KEY)


async def test_one_whose_clock_was_ahead_when_the_store_changed_is_forgotten_too(
    engine: str, client: redis.Redis
) -> None:
    async with asking(engine) as ask:
        await WorkerHash(KEY, 1, b"one").write(ask, b"x", AT + EXPIRY + 1)
        await WorkerHash(KEY, 1, b"two").write(ask, b"x", AT + 1)
        assert [(entry.worker, entry.age) for entry in await WorkerHash(KEY, 1, b"three").read(ask, AT)] == [
            (b"two", 0.0)
        ]


async def test_other_versions_do_not_disturb_each_other(engine: str, client: redis.Redis) -> None:
    async with asking(engine) as ask:
        old, new, newer = WorkerHash(KEY, 1, b"old"), WorkerHash(KEY, 2, b"new"), WorkerHash(KEY, 2, b"newer")
        for board in (old, new, newer):
            await board.write(ask, b"x", AT)
        assert await old.read(ask, AT) == []
        assert [entry.worker for entry in await new.read(ask, AT)] == [b"newer"]
        assert client.hlen(KEY) == 3, "each is left for those who can read it"


@pytest.mark.parametrize("value", [b"", b"x", b"1", b"1 x", b"1 -5 x", b"1 " + b"9" * 30 + b" x", b"\xff\xff\xff"])
async def test_what_has_no_time_is_removed(engine: str, client: redis.Redis, value: bytes) -> None:
    async with asking(engine) as ask:
        one, two = WorkerHash(KEY, 1, b"one"), WorkerHash(KEY, 1, b"two")
        await one.write(ask, b"x", AT)
        client.hset(KEY, "garbage", value)  # type: ignore[arg-type]
        assert [entry.worker for entry in await two.read(ask, AT)] == [b"one"]
        assert client.hkeys(KEY) == [b"one"]


@pytest.mark.parametrize("reply", [7, None, [1, 2], b"OK"])
async def test_a_reply_that_is_none_is_a_store_error(reply: object) -> None:
    async def ask(*_: bytes | str | int) -> object:
        return reply

    with pytest.raises(StoreError):
        await WorkerHash(KEY, 1, b"one").read(ask, AT)
