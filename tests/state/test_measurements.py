"""Workers take in what the others measured, through a real store, and pass on only what is their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import redis

from gateway.route.fleet import Fleet
from gateway.state.address import Address
from gateway.state.measurements import EVERY, KEPT, KEY, Measurements
from gateway.state.resp import Connection, StoreError
from tests.route.world import attempt, endpoint, fail, teach

MODEL = "m"
AT = 1_700_000_000  # the store's time, as the tests tell it


class Peer:
    """One worker with its own clock, on one connection."""

    def __init__(self, connection: Connection, name: bytes, now: float) -> None:
        self._connection = connection
        self.now = now
        self.fleet = Fleet([endpoint("a"), endpoint("b")])
        self.measurements = Measurements({MODEL: self.fleet}, lambda: self.now, name)

    async def share(self, at: int = AT) -> None:
        self.now += EVERY
        await self.measurements.share(self.ask, at)

    async def ask(self, *command: bytes | str | int) -> object:
        await self._connection.send([command])
        return await self._connection.receive()

    def figure(self, measure: str, name: str = "a") -> float | None:
        self.fleet.states[name].refresh(self.now)
        return self.fleet.states[name].figures[measure]  # type: ignore[index]


@asynccontextmanager
async def peers(url: str) -> AsyncIterator[tuple[Peer, Peer]]:
    """Two workers whose clocks stand at different times."""
    connection = await Connection.open(Address.parse(url))
    try:
        yield Peer(connection, b"one", 1_000.0), Peer(connection, b"two", 5_000.0)
    finally:
        connection.close()


async def test_figures_of_one_are_figures_of_both(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        teach(one.fleet, "a", [3.0] * 30, one.now)
        await one.share()
        await two.share()
        for measure in ("ttft_p50", "ttft_p95", "throughput_p50", "uptime_1h"):
            assert two.figure(measure) == pytest.approx(one.figure(measure), rel=0.01)
        assert two.figure("ttft_p50") == pytest.approx(3.0, rel=0.08)
        assert two.figure("ttft_p50", "b") is None


async def test_failures_are_told_too(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        for _ in range(30):
            fail(one.fleet, attempt(one.fleet, "a", now=one.now), "server", one.now)
        await one.share()
        await two.share()
        assert two.figure("uptime_5m") == pytest.approx(0.0, abs=0.01)


async def test_nothing_is_counted_twice_however_often_it_is_told(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        teach(one.fleet, "a", [3.0] * 12, one.now)
        teach(two.fleet, "a", [3.0] * 6, two.now)
        for _ in range(5):
            await one.share()
            await two.share()
        assert one.figure("ttft_p50") is two.figure("ttft_p50") is None  # 18 samples, where 20 bind
        teach(two.fleet, "a", [3.0] * 4, two.now)
        await two.share()
        await one.share()
        assert one.figure("ttft_p50") is not None


async def test_a_worker_that_writes_no_more_is_forgotten(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        teach(one.fleet, "a", [3.0] * 30, one.now)
        await one.share()
        await two.share(AT + KEPT)
        assert two.figure("ttft_p50") is not None
        await two.share(AT + KEPT + 1)
        assert two.figure("ttft_p50") is None
        assert client.hkeys(KEY) == [b"two"]
        assert 0 < client.ttl(KEY) <= KEPT


async def test_it_tells_no_more_often_than_it_should(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, _):
        await one.share()
        client.delete(KEY)
        await one.measurements.share(one.ask, AT)
        assert not client.exists(KEY)


def told(**changes: object) -> bytes:
    """A worker's samples of endpoint a, with changes that make no sense."""
    usual = {"sketches": [{1: 100}] * 6, "rates": [(1, 1)] * 4} | changes
    return b"%d " % AT + msgspec.msgpack.encode({MODEL: {"a": list(usual.values())}})


GARBAGE = {
    "no time": b"x",
    "a time far ahead": b"9" * 30 + b" x",
    "no samples": b"%d " % AT,
    "no msgpack": b"%d \xc1" % AT,
    "another shape": b"%d " % AT + msgspec.msgpack.encode([1]),
    "too few sketches": told(sketches=[]),
    "no such bucket": told(sketches=[{140: 1}] * 6),
    "a negative bucket": told(sketches=[{-1: 1}] * 6),
    "less than nothing": told(sketches=[{1: -1}] * 6),
    "not a number": told(rates=[(float("nan"), 1)] * 4),
    "beyond sense": told(rates=[(2**63, 1)] * 4),
}


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
async def test_what_makes_no_sense_is_skipped(engine: str, client: redis.Redis, value: bytes) -> None:
    async with peers(engine) as (one, two):
        client.hset(KEY, "garbage", value)  # type: ignore[arg-type]
        teach(one.fleet, "a", [3.0] * 30, one.now)
        await one.share()
        await two.share()
        assert two.figure("ttft_p50") == pytest.approx(3.0, rel=0.08)


async def test_unknown_endpoints_and_models_are_skipped(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        other = Fleet([endpoint("c")])
        teach(other, "c", [3.0] * 30, one.now)
        await Measurements({MODEL: other, "other": other}, lambda: one.now, b"three").share(one.ask, AT)
        await two.share()
        assert two.figure("ttft_p50") is None


async def test_a_reply_that_is_none_is_a_store_error() -> None:
    async def nonsense(*_: object) -> object:
        return 7

    fleet = Fleet([endpoint("a")])
    with pytest.raises(StoreError):
        await Measurements({MODEL: fleet}, lambda: 0.0, b"one").share(nonsense, AT)
