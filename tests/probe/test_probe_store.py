"""Lock, budget and records, in a real store."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from gateway.probe.endpoint_record import EndpointRecord
from gateway.probe.probe_store import KEPT, LOCK, SPENT, ProbeStore

BUDGET = 1_000


Another = Callable[[], ProbeStore]


@pytest.fixture
async def another(engine: str, client: redis.Redis) -> AsyncIterator[Another]:
    """One more worker at the same store, which was empty."""
    made: list[ProbeStore] = []

    def make() -> ProbeStore:
        made.append(ProbeStore(engine, BUDGET))
        return made[-1]

    yield make
    for one in made:
        one.link.close()
    await asyncio.sleep(0)  # the sockets close


@pytest.fixture
async def store(another: Another) -> ProbeStore:
    return another()


def today() -> int:
    return int(time.time()) // 86_400


async def test_one_worker_has_the_lock_until_it_frees_it(store: ProbeStore, another: Another) -> None:
    other = another()
    assert [await store.take_lock(), await store.take_lock(), await other.take_lock()] == [True, True, False]
    await other.free_lock()
    assert not await other.take_lock()
    await store.free_lock()
    assert await other.take_lock()


async def test_the_lock_of_a_worker_that_died_ends(store: ProbeStore, client: redis.Redis) -> None:
    await store.take_lock()
    assert 0 < int(client.pttl(LOCK)) <= 180_000  # type: ignore[arg-type]


async def test_more_than_the_budget_is_not_reserved(store: ProbeStore, another: Another) -> None:
    other = another()
    first, second = await store.reserve(600), await other.reserve(400)
    assert first is not None
    assert second is not None
    assert await store.reserve(1) is None
    await other.settle(second, 100)
    assert await store.reserve(301) is None
    assert await store.reserve(300) is not None
    assert await store.spent(time.time()) == BUDGET


async def test_many_at_once_stay_within_the_budget(store: ProbeStore, another: Another) -> None:
    others = [another() for _ in range(8)]

    async def spend(one: ProbeStore) -> int:
        done = [await one.reserve(30) for _ in range(20)]
        return sum(found is not None for found in done)

    assert sum(await asyncio.gather(*map(spend, others))) == BUDGET // 30


async def test_a_new_day_has_a_new_budget_and_old_amounts_do_not_touch_it(
    store: ProbeStore, client: redis.Redis
) -> None:
    old = await store.reserve(900)
    assert old is not None
    client.hset(SPENT, mapping={"day": today() - 1, "spent": 900})
    fresh = another_day(store)
    assert await fresh.spent(time.time()) == 0
    new = await fresh.reserve(900)
    assert new is not None
    await fresh.settle(old._replace(day=today() - 1), 0)
    assert await fresh.spent(time.time()) == 900


def another_day(store: ProbeStore) -> ProbeStore:
    """As if the worker had known nothing of today."""
    store._day = store._spent = 0
    return store


async def test_a_store_that_lost_its_data_gives_no_second_budget(store: ProbeStore, client: redis.Redis) -> None:
    reserved = await store.reserve(800)
    assert reserved is not None
    await store.settle(reserved, 700)
    client.flushdb()
    assert await store.reserve(400) is None
    assert await store.reserve(300) is not None


async def test_a_clock_that_is_set_back_gives_no_second_budget(store: ProbeStore, client: redis.Redis) -> None:
    client.hset(SPENT, mapping={"day": today() + 1, "spent": BUDGET})
    assert await store.reserve(1) is None


async def test_records_are_kept_for_a_month(store: ProbeStore, client: redis.Redis) -> None:
    record = EndpointRecord(rounds=2, last=5.0)
    await store.write("a/fp8", record)
    assert await store.read(["a/fp8", "b"]) == {"a/fp8": record, "b": EndpointRecord()}
    assert await store.read([]) == {}
    assert client.ttl("gw:{probes}:endpoint:a/fp8") == KEPT


async def test_everything_expires(store: ProbeStore, client: redis.Redis) -> None:
    await store.take_lock()
    await store.reserve(1)
    await store.write("a", EndpointRecord())
    assert [key for key in client.scan_iter() if client.ttl(key) < 0] == []


async def test_another_kind_of_value_is_an_error_and_no_budget(store: ProbeStore, client: redis.Redis) -> None:
    client.set(SPENT, "x")
    with pytest.raises(OSError, match="rejected"):
        await store.reserve(1)
