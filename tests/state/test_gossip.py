"""Workers learn from each other where prompts were sent, through a real store; without one, nothing happens."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import redis

from gateway.route.breaker import State
from gateway.route.fleet import Fleet
from gateway.route.shared import FRESH
from gateway.state.gossip import Gossip
from gateway.state.prefixes import ENTRY_BYTES, NOTES, PUBLISH_BYTES, STREAM, SentPrefix
from tests.route.world import attempt, endpoint, fail, request, teach
from tests.support.valkey import running
from tests.support.wire import talker, wire

MODEL = "m"
TURN = ((1, 100), (2**64 - 1, 200), (3, 300))


class Peer:
    """One worker with its own clock: its fleet and its gossip."""

    def __init__(self, url: str, now: float = 1_000.0) -> None:
        self.now = now
        self.fleet = Fleet([endpoint("a"), endpoint("b")])
        self.gossip = Gossip({MODEL: self.fleet}, url, lambda: self.now)

    def send(self, prefix: tuple[tuple[int, int], ...] = TURN, to: str = "a") -> None:
        attempt(self.fleet, to, request(prefix=prefix), self.now)

    def fail(self, endpoint: str, times: int) -> None:
        for _ in range(times):
            fail(self.fleet, attempt(self.fleet, endpoint, request(), self.now), "server", self.now)

    def matches(self, prefix: tuple[tuple[int, int], ...] = TURN) -> dict[str, int]:
        return self.fleet.prefixes.matches(prefix, self.fleet.ttls, self.now)


@asynccontextmanager
async def peers(*urls: str) -> AsyncIterator[list[Peer]]:
    """Workers whose clocks stand at different times."""
    found = [Peer(url, now=1_000.0 * place) for place, url in enumerate(urls, 1)]
    yield found
    for peer in found:
        peer.gossip.close()
    await asyncio.sleep(0)  # the loop closes what was aborted


async def test_each_learns_what_the_others_sent(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        one.send(to="a")
        two.send(TURN[:2], to="b")
        assert await one.gossip.share()
        assert await two.gossip.share()
        assert await one.gossip.share()
        assert one.matches() == two.matches() == {"a": 300, "b": 200}


async def test_each_learns_what_the_others_measured(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        teach(one.fleet, "a", [3.0] * 30, one.now)
        await one.gossip.share()
        await two.gossip.share()
        two.fleet.refresh(two.now + 1.0)
        assert two.fleet.states["a"].figures["ttft_p50"] == pytest.approx(3.0, rel=0.08)


async def test_a_model_of_a_new_configuration_is_shared_too(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        for peer in (one, two):
            peer.fleet = Fleet([endpoint("a"), endpoint("b")])
            peer.gossip.take({"another": peer.fleet})
        one.send(to="a")
        teach(one.fleet, "a", [3.0] * 30, one.now)
        one.fail("b", 5)
        await one.gossip.share()
        await two.gossip.share()
        assert two.matches() == {"a": 300}
        two.fleet.refresh(two.now + 1.0)
        assert two.fleet.states["a"].figures["ttft_p50"] == pytest.approx(3.0, rel=0.08)
        assert two.fleet.states["b"].breaker.state(two.now) is State.OPEN


async def test_a_newcomer_learns_what_was_sent_before_it_came(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, newcomer):
        for digest in range(100):
            one.send(((digest, 100),))
            await one.gossip.share()
        await newcomer.gossip.share()
        assert all(newcomer.matches(((digest, 100),)) == {"a": 100} for digest in range(100))


async def test_ages_are_kept_whatever_the_clocks_say(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        one.send()
        one.now += 200.0
        await one.gossip.share()
        await two.gossip.share()
        two.now += 90.0
        assert two.matches() == {"a": 300}
        two.now += 10.0
        assert two.matches() == {}  # 300 s are the TTL


async def test_news_are_as_old_as_their_place_in_the_stream_says(engine: str, client: redis.Redis) -> None:
    """A worker reads what was written long before it came."""
    async with peers(engine, engine) as (one, two):
        one.send()
        await one.gossip.share()
        [(name, fields)] = client.xrange(STREAM)
        client.delete(STREAM)
        client.xadd(STREAM, fields, id=f"{int(name.partition(b'-')[0]) - 200_000}-0")
        await two.gossip.share()
        two.now += 90.0
        assert two.matches() == {"a": 300}
        two.now += 10.0
        assert two.matches() == {}


async def test_news_older_than_the_ttl_are_not_taken_in(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        one.send()
        one.now += 300.0
        await one.gossip.share()
        await two.gossip.share()
        assert len(two.fleet.prefixes) == 0


async def test_old_news_do_not_replace_what_is_known_better(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        one.send()
        one.now += 200.0
        await one.gossip.share()
        two.send()
        await two.gossip.share()
        two.now += 250.0
        assert two.matches() == {"a": 300}


async def test_own_entries_are_not_read_back(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one,):
        one.send()
        await one.gossip.share()
        one.fleet.prefixes = type(one.fleet.prefixes)()
        await one.gossip.share()
        assert one.matches() == {}


async def test_what_was_received_is_not_passed_on(engine: str, client: redis.Redis) -> None:
    async with peers(engine, engine) as (one, two):
        one.send()
        for peer in (one, two, one, two):
            await peer.gossip.share()
        assert client.xlen(STREAM) == 1


async def test_an_unused_stream_goes_away(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one,):
        one.send()
        await one.gossip.share()
        assert 0 < client.ttl(STREAM) <= 3_600


GARBAGE = (
    {b"by": b"x", b"sent": b"\xc1"},
    {b"by": b"x", b"sent": b"\x91\x94\xa1\x80\xa1b\x00\xc4\x00"},  # a model's name that is not UTF-8
    {b"by": b"x", b"sent": msgspec.msgpack.encode({"not": "a list"})},
    {b"by": b"x", b"sent": msgspec.msgpack.encode([SentPrefix("unknown", "a", 0.0, bytes(8))])},
    {b"by": b"x", b"sent": msgspec.msgpack.encode([SentPrefix(MODEL, "unknown", 0.0, bytes(8))])},
    {b"by": b"x", b"sent": msgspec.msgpack.encode([SentPrefix(MODEL, "a", 0.0, bytes(7))])},
    {b"by": b"x", b"sent": msgspec.msgpack.encode([SentPrefix(MODEL, "a", float("nan"), bytes(8))])},
    {b"by": b"x", b"sent": msgspec.msgpack.encode([SentPrefix(MODEL, "a", -1e9, bytes(8))])},
    {b"of": b"another", b"kind": b"x", b"with": b"more"},
)


@pytest.mark.parametrize("fields", GARBAGE)
async def test_garbage_in_the_stream_is_skipped(engine: str, client: redis.Redis, fields: dict[bytes, bytes]) -> None:
    async with peers(engine, engine) as (one, two):
        client.xadd(STREAM, fields)
        assert await two.gossip.share()
        assert len(two.fleet.prefixes) == 0
        one.send()
        await one.gossip.share()
        assert await two.gossip.share()
        assert two.matches() == {"a": 300}


async def test_a_key_of_another_kind_is_a_failure_that_is_reported_once(
    engine: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(STREAM, "a string")
    async with peers(engine) as (one,):
        assert not await one.gossip.share()
        assert not await one.gossip.share()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        client.delete(STREAM)
        assert await one.gossip.share()
        assert caplog.messages[1:] == ["gossip: the store is back"]


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"+PONG\r\n", b"*1\r\n:1\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_server_that_talks_nonsense_is_no_store(answer: bytes) -> None:
    async with talker(lambda said: b"+PONG\r\n" if b"PING" in said else answer) as url, peers(url) as (one,):
        one.send()
        assert not await one.gossip.share()
        assert one.matches() == {"a": 300}


async def test_notes_wait_for_a_store_that_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path) as url:
        async with peers(url, url) as (one, two):
            assert await one.gossip.share()
    one.send()
    assert not await one.gossip.share()
    assert not await two.gossip.share()
    assert len(caplog.records) == 2  # one from each
    assert "1 notes, 0 dropped" in repr(one.gossip)
    with running(tmp_path) as again:
        assert again == url
        assert await one.gossip.share()
        assert await two.gossip.share()
        one.gossip.close()
        two.gossip.close()
    assert two.matches() == {"a": 300}


async def test_a_store_that_goes_away_and_returns_leaves_each_with_what_it_knows(tmp_path: Path) -> None:
    def elsewhere(peer: Peer) -> list[int]:
        return [state.elsewhere for state in peer.fleet.states.values()]

    def states(peer: Peer) -> list[State]:
        return [state.breaker.state(peer.now) for state in peer.fleet.states.values()]

    with running(tmp_path) as url:
        async with peers(url, url) as (one, two):
            one.send(to="b")
            one.fail("a", times=1)
            assert await one.gossip.share()
            assert await two.gossip.share()
            assert (elsewhere(two), states(two)) == ([0, 1], [State.CLOSED, State.CLOSED])
    one.fail("a", times=4)
    for _ in range(2):
        assert not await one.gossip.share()
        assert not await two.gossip.share()
        two.now += FRESH + 1
    assert (elsewhere(two), states(two)) == ([0, 0], [State.CLOSED, State.CLOSED])
    assert states(one)[0] is State.OPEN
    with running(tmp_path):
        assert await one.gossip.share()
        assert await two.gossip.share()
        assert (elsewhere(two), states(two)) == ([0, 1], [State.OPEN, State.CLOSED])
        one.gossip.close()
        two.gossip.close()


async def test_notes_that_wait_are_bounded() -> None:
    async with peers("unix:///nonexistent/store.sock") as (one,):
        for digest in range(NOTES + 1):
            one.send(((digest, 100),))
        assert one.fleet.notes is not None
        assert len(one.fleet.notes) == NOTES


async def test_too_much_at_once_is_sent_in_parts_and_the_oldest_dropped(engine: str, client: redis.Redis) -> None:
    chain = tuple((digest, digest) for digest in range(1, 513))
    told = PUBLISH_BYTES // (8 * len(chain))
    async with peers(engine, engine) as (one, two):
        one.send(((10_000, 100),))
        for _ in range(told):
            one.send(chain)
        assert await one.gossip.share()
        assert "0 notes, 1 dropped" in repr(one.gossip)
        assert client.xlen(STREAM) == PUBLISH_BYTES // ENTRY_BYTES
        await two.gossip.share()
        assert two.matches(chain) == {"a": 512}
        assert two.matches(((10_000, 100),)) == {}


async def test_prompts_without_a_prefix_are_not_noted(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one,):
        one.send(())
        await one.gossip.share()
        assert not client.exists(STREAM)


async def test_a_cut_line_is_opened_again(engine: str, client: redis.Redis) -> None:
    async with wire(engine) as proxy, peers(proxy.url, engine) as (one, two):
        assert await one.gossip.share()
        proxy.close()
        one.send()
        assert not await one.gossip.share()
        assert await one.gossip.share()
        await two.gossip.share()
        assert two.matches() == {"a": 300}
