"""Responses kept for later requests: per tenant, in a store that may be away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.cache.reasoning_vault import TTL
from gateway.cache.stored_responses import LARGEST, PREFIX, StoredResponse, StoredResponses
from gateway.state.store import Store
from tests.support.gateway import NO_STORE
from tests.support.valkey import until

Json = dict[str, Any]


def said(name: str, text: str = "Hello", *earlier: StoredResponse) -> StoredResponse:
    """A response after others; the last of these is the one that it continues."""
    response = {"id": name, "output": [{"id": f"msg_{name}", "text": text}]}
    size = earlier[-1].size if earlier else 0
    return StoredResponse(response, [{"role": "user", "content": "Hi"}], [one.name for one in earlier], size)


@pytest.fixture
async def replicas(valkey: str) -> AsyncIterator[tuple[StoredResponses, StoredResponses]]:
    stores = Store(valkey), Store(valkey)
    for store in stores:
        store.start()
    await until(lambda: all(store.healthy for store in stores))
    both = StoredResponses(stores[0], valkey), StoredResponses(stores[1], valkey)
    assert all(one.up for one in both)
    yield both
    for one, store in zip(both, stores, strict=True):
        one.close()
        await store.close()


async def there(kept: StoredResponses, tenant: str, name: str) -> StoredResponse:
    async with asyncio.timeout(60):
        while name not in (found := await kept.by_ids(tenant, [name])):
            pass
    return found[name]


async def test_a_conversation_is_read_by_another_replica_oldest_first(
    replicas: tuple[StoredResponses, StoredResponses],
) -> None:
    one, two = replicas
    known: list[StoredResponse] = []
    for number in range(4):
        one.keep("web", said(f"chain{number}", f"text {number}", *known))
        known.append(await there(two, "web", f"chain{number}"))
    assert [found.name for found in await two.conversation("web", "chain3")] == [f"chain{n}" for n in range(4)]
    assert await one.conversation("web", "chain3") == known
    assert [found.size for found in known] == sorted({found.size for found in known}), "each counts those before it"
    assert known[0].items() == [{"role": "user", "content": "Hi"}, *known[0].response["output"]]


async def test_others_have_none_of_it(replicas: tuple[StoredResponses, StoredResponses]) -> None:
    one, two = replicas
    one.keep("web", said("mine"))
    await there(two, "web", "mine")
    assert await two.by_ids("else", ["mine"]) == {}
    assert await two.conversation("else", "mine") == []
    assert not await two.forget("else", "mine")
    assert await two.forget("web", "mine")
    assert not await one.forget("web", "mine")


async def test_a_conversation_with_a_gap_is_none(replicas: tuple[StoredResponses, StoredResponses]) -> None:
    one, two = replicas
    one.keep("web", said("gap0"))
    first = await there(two, "web", "gap0")
    one.keep("web", said("gap1", "Hello", first))
    await there(two, "web", "gap1")
    assert await two.forget("web", "gap0")
    assert await two.conversation("web", "gap1") == []
    assert list(await two.by_ids("web", ["gap0", "gap1", "gap2"])) == ["gap1"]


async def test_every_reading_keeps_a_whole_conversation_longer(
    replicas: tuple[StoredResponses, StoredResponses], valkey: str
) -> None:
    one, _ = replicas
    async with Redis.from_url(valkey) as client:
        await client.flushdb()
        one.keep("web", said("old"))
        first = await there(one, "web", "old")
        one.keep("web", said("new", "Hello", first))
        await there(one, "web", "new")
        keys = await client.keys(PREFIX + b"*")
        assert len(keys) == 2
        for key in keys:
            assert TTL * 1000 - 60_000 < await client.pttl(key) <= TTL * 1000
            await client.pexpire(key, 60_000)
        assert len(await one.conversation("web", "new")) == 2
        for key in keys:
            assert await client.pttl(key) > 60_000


async def test_what_is_too_large_or_too_deep_is_not_kept(replicas: tuple[StoredResponses, StoredResponses]) -> None:
    one, _ = replicas
    deep: Any = []
    for _level in range(400):
        deep = [deep]
    one.keep("web", said("large", "x" * LARGEST))
    one.keep("web", said("sum")._replace(size=LARGEST))
    one.keep("web", StoredResponse({"id": "deep", "output": deep}, []))
    one.keep("web", said("last"))
    await there(one, "web", "last")
    assert list(await one.by_ids("web", ["large", "sum", "deep", "last"])) == ["last"]


async def test_no_ids_no_answers(replicas: tuple[StoredResponses, StoredResponses]) -> None:
    assert await replicas[0].by_ids("web", []) == {}


async def test_a_store_that_is_away_says_so() -> None:
    store = Store(NO_STORE)
    kept = StoredResponses(store, NO_STORE)
    assert not kept.up
    kept.keep("web", said("lost"))
    for question in (kept.conversation, kept.forget):
        with pytest.raises(OSError, match="No such file"):
            await question("web", "lost")
    kept.close()


async def test_a_store_that_refuses_says_so(replicas: tuple[StoredResponses, StoredResponses], valkey: str) -> None:
    async with Redis.from_url(valkey) as client:
        await client.flushdb()
        replicas[0].keep("web", said("odd"))
        await there(replicas[0], "web", "odd")
        (key,) = await client.keys(PREFIX + b"*")
        await client.delete(key)
        await client.rpush(key, "no text")
        with pytest.raises(OSError, match="rejected"):
            await replicas[0].by_ids("web", ["odd"])
