"""Workers take in what the others measured, through a real store, and pass on only what is their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import redis

from gateway.route.fleet import Fleet
from gateway.route.shared import RATES, SKETCHES
from gateway.route.tokens import DEFAULT_LONGEST, DEFAULT_MEAN
from gateway.state.link import Link
from gateway.state.measurements import EVERY, KEY, VERSION, Measurements
from gateway.state.worker_hash import EXPIRY
from gateway.types import Usage
from tests.route.world import attempt, endpoint, fail, request, succeed, teach

MODEL = "m"
AT = 1_700_000_000  # the store's time, as the tests tell it


class Peer:
    """One worker with its own clock, on one connection."""

    def __init__(self, link: Link, name: bytes, now: float) -> None:
        self._link = link
        self.now = now
        self.fleet = Fleet([endpoint("a"), endpoint("b")])
        self.measurements = Measurements({MODEL: self.fleet}, lambda: self.now, name)

    async def share(self, at: int = AT) -> None:
        self.now += EVERY
        await self.measurements.share(self._link.execute, at)

    def figure(self, measure: str, name: str = "a") -> float | None:
        self.fleet.states[name].refresh(self.now)
        return self.fleet.states[name].figures[measure]  # type: ignore[index]


@asynccontextmanager
async def peers(url: str) -> AsyncIterator[tuple[Peer, Peer]]:
    """Two workers whose clocks stand at different times."""
    link = Link(url, "peers", "they share nothing")
    try:
        yield Peer(link, b"one", 1_000.0), Peer(link, b"two", 5_000.0)
    finally:
        link.close()


async def test_figures_of_one_are_figures_of_both(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        teach(one.fleet, "a", [3.0] * 30, one.now)
        await one.share()
        await two.share()
        for measure in ("ttft_p50", "ttft_p95", "throughput_p50", "uptime_1h"):
            assert two.figure(measure) == pytest.approx(one.figure(measure), rel=0.01)
        assert two.figure("ttft_p50") == pytest.approx(3.0, rel=0.08)
        assert two.figure("ttft_p50", "b") is None


async def test_failures_are_published_too(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        for _ in range(30):
            fail(one.fleet, attempt(one.fleet, "a", now=one.now), "server", one.now)
        await one.share()
        await two.share()
        assert two.figure("uptime_5m") == pytest.approx(one.figure("uptime_5m"), abs=0.01)
        assert two.figure("uptime_1h") == pytest.approx(10 * 0.99 / 40, abs=0.01), "30 failures, and what is usual"


async def test_nothing_is_counted_twice_however_often_it_is_published(engine: str, client: redis.Redis) -> None:
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
        await two.share(AT + EXPIRY)
        assert two.figure("ttft_p50") is not None
        await two.share(AT + EXPIRY + 1)
        assert two.figure("ttft_p50") is None
        assert client.hkeys(KEY) == [b"two"]


async def test_lengths_and_tokens_of_one_are_those_of_both(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        long = Usage(3_000, 0, 2_000, 0, "host")
        for _ in range(100):
            succeed(one.fleet, attempt(one.fleet, "a", request(prompt_size=9_000), one.now), one.now, usage=long)
        for _ in range(3):
            await one.share()
            await two.share()
        for peer in (one, two):
            mean, longest = peer.fleet.lengths[False, False].expected(None, peer.now + 1)
            assert mean == pytest.approx(1_860, rel=0.08)
            assert longest == pytest.approx(2_000, rel=0.08)
            assert peer.fleet.lengths[True, False].expected(None, peer.now + 1) == (DEFAULT_MEAN, DEFAULT_LONGEST)
            assert peer.fleet.tokens.count(9_000, False) == pytest.approx(3_000, rel=0.05)


async def test_it_publishes_no_more_often_than_it_should(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, _):
        await one.share()
        client.delete(KEY)
        await one.measurements.share(one._link.execute, AT)
        assert not client.exists(KEY)


def told(**changes: object) -> bytes:
    """A worker's samples of endpoint a, with changes that make no sense."""
    usual = {"sketches": [{1: 100}] * SKETCHES, "rates": [(1, 1)] * RATES}
    measured = [changes.get(name, value) for name, value in usual.items()]
    parts = {"tokens": [(1, 1)] * 2, "lengths": [{1: 100}] * 4}
    return written([{"a": measured}, *(changes.get(name, value) for name, value in parts.items())])


def written(learned: object) -> bytes:
    return b"%d %d " % (VERSION, 1_000 * AT) + msgspec.msgpack.encode({MODEL: learned})


GARBAGE = {
    "no time": b"x",
    "no samples": b"%d %d " % (VERSION, 1_000 * AT),
    "no msgpack": b"%d %d \xc1" % (VERSION, 1_000 * AT),
    "no UTF-8": b"%d %d \x81\xa1\x80\x01" % (VERSION, 1_000 * AT),
    "another shape": written([1]),
    "of another version": b"%d" % (VERSION + 1) + told().removeprefix(b"%d" % VERSION),
    "too few lengths": told(lengths=[]),
    "tokens less than nothing": told(tokens=[(-1, 1)] * 2),
    "too few sketches": told(sketches=[]),
    "no such bucket": told(sketches=[{140: 1}] * SKETCHES),
    "a negative bucket": told(sketches=[{-1: 1}] * SKETCHES),
    "less than nothing": told(sketches=[{1: -1}] * SKETCHES),
    "not a number": told(rates=[(float("nan"), 1)] * RATES),
    "beyond sense": told(rates=[(2**63, 1)] * RATES),
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
        await Measurements({MODEL: other, "other": other}, lambda: one.now, b"three").share(one._link.execute, AT)
        await two.share()
        assert two.figure("ttft_p50") is None


async def test_fields_that_a_newer_version_adds_are_passed_over(engine: str, client: redis.Redis) -> None:
    measured = [[{50: 3_000}] * SKETCHES, [(3_000, 0)] * RATES, "new"]
    learned = [{"a": measured}, [(1, 1)] * 2, [{1: 100}] * 4, {"new": 1}]
    async with peers(engine) as (_, two):
        client.hset(KEY, "newer", written(learned))  # type: ignore[arg-type]
        await two.share()
        assert two.figure("ttft_p50") is not None
