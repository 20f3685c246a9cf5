"""Workers agree on what holds now, through a real store: breakers, rates, in flight and caps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import redis

from gateway.route.breaker import FAULTS_IN_A_ROW, State
from gateway.route.endpoint_state import EndpointState
from gateway.route.fleet import Fleet
from gateway.route.shared import FRESH
from gateway.state.link import Link
from gateway.state.presence import KEY, VERSION, Presence
from gateway.state.worker_hash import EXPIRY
from gateway.types import Cap, Limits, Policy
from tests.route.world import attempt, endpoint, fail, request, succeed

MODEL = "m"
AT = 1_700_000_000.0  # the store's time, as the tests have it
NAMES = ("a", "b", "c", "d")
CAPPED = Policy("capped", cap=Cap(0.3, 1e9))


class Peer:
    """One worker with its own clock, on one connection."""

    def __init__(self, link: Link, name: bytes, now: float, *endpoints: str) -> None:
        self._link = link
        self._began = now
        self.now = now
        self.fleet = Fleet(endpoint(one, limits=Limits(rpm=100)) for one in endpoints or NAMES)
        self.presence = Presence({MODEL: self.fleet}, lambda: self.now, name)

    @property
    def at(self) -> float:
        """The store's time: all clocks run alike, from different beginnings."""
        return AT + self.now - self._began

    async def share(self) -> None:
        await self.presence.share(self._link.execute, self.at)

    def state(self, name: str = "a") -> EndpointState:
        return self.fleet.states[name]

    def send(self, name: str, count: int = 1, policy: Policy = CAPPED) -> None:
        for _ in range(count):
            attempt(self.fleet, name, request(prompt_tokens=50_000), self.now, policy=policy)

    def fails(self, name: str = "a") -> None:
        for _ in range(FAULTS_IN_A_ROW):
            fail(self.fleet, attempt(self.fleet, name, now=self.now), "server", self.now)

    def share_of(self, name: str) -> float:
        toll = self.fleet.tolls.of(CAPPED)
        assert toll is not None
        return toll.share(name)


@asynccontextmanager
async def peers(url: str, *endpoints: str) -> AsyncIterator[tuple[Peer, Peer]]:
    """Two workers whose clocks stand at different times; the second serves these endpoints, else all."""
    link = Link(url, "peers", "they share nothing")
    try:
        yield Peer(link, b"one", 1_000.0), Peer(link, b"two", 5_000.0, *endpoints)
    finally:
        link.close()


async def both(one: Peer, two: Peer, seconds: float = 1.0) -> None:
    """A second passes; then each publishes, and each has read the other."""
    for peer in (one, two):
        peer.now += seconds
    for peer in (one, two, one):
        await peer.share()


async def test_a_breaker_that_opens_at_one_opens_at_both_and_closes_at_both(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        one.fails()
        await both(one, two)
        assert two.state().breaker.state(two.now) is State.OPEN
        assert two.state("b").breaker.state(two.now) is State.CLOSED
        left = one.state().breaker.opens_until() - one.now
        assert two.state().breaker.opens_until() - two.now == pytest.approx(left, abs=0.01)
        one.now += left
        two.now += left
        for _ in range(2):
            succeed(one.fleet, attempt(one.fleet, "a", now=one.now), one.now)
        await both(one, two)
        assert two.state().breaker.state(two.now) is State.CLOSED


async def test_a_retry_after_and_what_was_sent_hold_for_both(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        fail(one.fleet, attempt(one.fleet, "a", now=one.now), "rate_limited", one.now, retry_after=30.0)
        one.send("b", 60)
        two.send("b", 45)
        await both(one, two)
        assert two.state().held_until == pytest.approx(two.now + 29, abs=0.01)
        assert one.state("b").rate_limit.why == two.state("b").rate_limit.why == "105 of 100 requests a minute are used"
        assert one.state("c").held_until == two.state("c").held_until == 0


async def test_what_others_have_in_flight_is_known_and_forgotten(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        one.send("a", 3)
        await both(one, two)
        assert (two.state().in_flight, two.state().elsewhere) == (0, 3)
        two.now += FRESH - 1
        two.presence.forget()
        assert two.state().elsewhere == 3
        two.now += 2
        two.presence.forget()
        assert two.state().elsewhere == 0


async def test_a_cap_counts_what_both_sent(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        one.send("a", 60)
        two.send("b", 20)
        for _ in range(3):
            await both(one, two)
        assert [one.share_of("a"), two.share_of("a")] == pytest.approx([0.75, 0.75])
        toll = two.fleet.tolls.of(CAPPED)
        assert toll is not None
        assert toll.rates["a"] > 0
        assert toll.full(1_000.0, two.now) == ["a"]


async def test_a_newcomer_knows_all_that_at_once(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, newcomer):
        one.fails("c")
        one.send("a", 30)
        one.send("b", 10)
        await one.share()
        await newcomer.share()
        assert newcomer.state("c").breaker.state(newcomer.now) is State.OPEN
        assert newcomer.share_of("a") == pytest.approx(0.75)
        assert newcomer.state("a").elsewhere == 30


async def test_a_worker_that_dies_is_forgotten(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        one.fails()
        one.send("b", 200)
        await both(one, two)
        two.now += EXPIRY + 1
        await two.share()
        assert two.state().breaker.state(two.now) is State.HALF_OPEN
        assert two.state("b").elsewhere == 0
        assert two.state("b").rate_limit.until <= two.now
        assert two.share_of("b") == 0
        assert client.hkeys(KEY) == [b"two"]


async def test_nothing_is_passed_on(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (one, two):
        one.fails()
        one.send("b", 30)
        for _ in range(3):
            await both(one, two)
        value = client.hget(KEY, "two")
        assert isinstance(value, bytes)
        _, endpoints, policies = msgspec.msgpack.decode(value.split(b" ", 2)[2])[MODEL]
        assert (endpoints, policies) == ([None] * 4, {})


async def test_workers_with_other_endpoints_and_models_share_what_both_have(engine: str, client: redis.Redis) -> None:
    async with peers(engine, "d", "x", "a") as (one, two):
        one.send("b", 10)
        one.send("d", 30)
        two.send("x", 10)
        await both(one, two)
        assert [one.share_of("d"), two.share_of("d")] == pytest.approx([0.6, 0.6])
        assert (two.state("d").elsewhere, two.state("x").elsewhere, two.state("a").elsewhere) == (30, 0, 0)


def written(model: object) -> bytes:
    return b"%d %d " % (VERSION, 1_000 * AT) + msgspec.msgpack.encode({MODEL: model})


def policies(**changes: object) -> bytes:
    """What another worker sent under the capped policy, with changes that make no sense."""
    usual = {"share": 0.3, "window": 1e9, "tokens": [1_000_000], "above": [0], "size": 1.0, "usd": 1.0}
    return written([["a"], [None], {"capped": list((usual | changes).values())}])


def presents(present: object) -> bytes:
    return written([["a"], [present], {}])


GARBAGE = {
    "no msgpack": b"%d %d \xc1" % (VERSION, 1_000 * AT),
    "no UTF-8": b"%d %d \x81\xa1\x80\x01" % (VERSION, 1_000 * AT),
    "another shape": written([1]),
    "of another version": b"%d" % (VERSION + 1) + presents([50]).removeprefix(b"%d" % VERSION),
    "no share": policies(share=0.0),
    "all of it": policies(share=1.0),
    "no number": policies(share=float("nan")),
    "an endless window": policies(window=float("inf")),
    "tokens less than none": policies(tokens=[-1]),
    "no tokens": policies(tokens=None),
    "in flight less than none": presents([-1]),
    "an opening beyond sense": presents([0, None, [1, 0, True, 10**9]]),
    "an opening without a number": presents([0, None, [0, 0, True, 1_000]]),
    "a wait beyond sense": presents([0, [[], 10**9]]),
    "a limit of nothing": presents([0, [[], 0, [0, 0, 0]]]),
    "a slice of nothing": presents([0, [[[]]]]),
    "endless slices": presents([0, [[[0, 1, 1, 1]] * 1_000]]),
}


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
async def test_what_makes_no_sense_is_skipped(engine: str, client: redis.Redis, value: bytes) -> None:
    async with peers(engine) as (one, two):
        one.send("b", 3)
        await one.share()
        client.hset(KEY, "garbage", value)  # type: ignore[arg-type]
        await two.share()
        assert (two.state("a").elsewhere, two.state("a").held_until) == (0, 0)
        assert two.state("a").breaker.state(two.now) is State.CLOSED
        assert (two.share_of("a"), two.share_of("b")) == (0, 1)


async def test_lists_of_any_length_are_read(engine: str, client: redis.Redis) -> None:
    async with peers(engine) as (_, two):
        client.hset(KEY, "odd", written([["a"], [[1]] * 5, {"capped": [0.3, 1e9, [7] * 9, [], 1.0, 1.0]}]))  # type: ignore[arg-type]
        client.hset(KEY, "none", written([[], [], {}]))  # type: ignore[arg-type]
        await two.share()
        assert (two.state("a").elsewhere, two.share_of("a")) == (1, 1)


async def test_fields_that_a_newer_version_adds_are_passed_over(engine: str, client: redis.Redis) -> None:
    model = [["a"], [[5, None, None, "new"]], {"capped": [0.3, 1e9, [1_000], [], 1.0, 1.0, "new"]}, {"new": 1}]
    async with peers(engine) as (_, two):
        client.hset(KEY, "newer", written(model))  # type: ignore[arg-type]
        await two.share()
        assert (two.state("a").elsewhere, two.share_of("a")) == (5, 1)


async def test_what_one_publishes_is_small(engine: str, client: redis.Redis) -> None:
    """30 endpoints and 20 policies with a cap, all of them in use."""
    names = [f"a-provider-{number}/deepseek-v3.2-fp8" for number in range(30)]
    async with peers(engine, *names) as (_, two):
        for number in range(20):
            for name in names:
                two.send(name, policy=Policy(f"a-policy-{number}", cap=Cap(0.3)))
            two.now += 3.0
        await two.share()
        value = client.hget(KEY, "two")
        assert isinstance(value, bytes)
        assert len(value) < 12_000
