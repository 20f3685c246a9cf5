"""Real Sentinels: the master is found, a failover is followed, and what is wrong is said."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import pytest
from redis.asyncio.sentinel import Sentinel

from gateway.config.store_address import StoreAddress
from gateway.state.link import Link
from gateway.state.sentinel_master import SentinelMaster
from gateway.state.store import Store
from tests.support.ports import free_port
from tests.support.store_servers import PASSWORD, SentinelSet, sentinel_set
from tests.support.valkey import ask, until

PATIENT = 10.0  # a budget that no test uses up


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    with sentinel_set(tmp_path_factory.mktemp("sentinels")) as sentinels:
        yield sentinels


async def problem(url: str, *words: str) -> str:
    """What a store that cannot be used says, once it says all of `words`."""
    store = Store(url)
    store.start()
    await until(lambda: all(word in (store.problem or "") for word in words))
    assert not store.healthy
    assert await ask(store, b"name") is None
    said = store.problem or ""
    await store.close()
    return said


async def test_what_is_wrong_is_said(sentinels: SentinelSet) -> None:
    url, nobody, one = sentinels.url, f"127.0.0.1:{free_port()}", sentinels.sentinels[0].address
    await problem(url.replace("/gw?", "/other?"), "the Sentinels have no master other, but gw")
    await problem(url.partition("?")[0], "NOAUTH", "the store requires a user or password")
    said = await problem(url.replace("p%40ss%2Fword", "wr0ng"), "WRONGPASS")
    assert "wr0ng" not in said
    await problem(f"redis+sentinel://{nobody}/gw", "no Sentinel names the master", "onnect")
    await problem(f"redis://:{quote(PASSWORD, safe='')}@{one}", "unknown command 'EVAL'", "redis+sentinel://")
    await problem(f"redis+cluster://:{quote(PASSWORD, safe='')}@{one}", "unknown command 'CLUSTER'")
    await problem(f"redis://{sentinels.replica.address}", "READONLY", "the server is a replica")


async def test_after_an_attempt_that_was_given_up_another_sentinel_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits wait for half a second: two Sentinels that hang would keep them from the third for ever."""
    asked: list[int] = []

    async def hang(sentinel: Sentinel, name: str) -> None:
        asked.append(sentinel.sentinels[0].connection_pool.connection_kwargs["port"])
        await asyncio.Event().wait()

    monkeypatch.setattr(Sentinel, "discover_master", hang)
    found = SentinelMaster(StoreAddress.parse("redis+sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/gw"))
    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await found.open("")
    assert asked == [1, 2, 3, 1]


async def test_a_failover_is_followed(sentinels: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first Sentinel of the URL does not reply."""
    monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.05)
    url = sentinels.url.replace("redis+sentinel://", f"redis+sentinel://127.0.0.1:{free_port()},")
    store, link = Store(url, budget=PATIENT), Link(url, "test", "nothing is written")
    store.start()
    await until(lambda: store.healthy)
    store.put(b"name", b"value", 600.0)
    async with asyncio.timeout(60):
        while await link.execute("GET", "name") != b"value":
            await asyncio.sleep(0.01)
    assert sentinels.master.client.wait(1, 0) == 1
    sentinels.master.kill()
    await until(lambda: not store.healthy)
    assert await ask(store, b"name") is None
    await until(lambda: store.healthy)
    assert await ask(store, b"name") == b"value"
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                assert await link.execute("SET", "name", "new") == b"OK"
                break
            await asyncio.sleep(0.05)
    assert sentinels.replica.client.get("name") == "new"
    link.close()
    await store.close()


async def test_a_master_that_becomes_a_replica_is_left(sentinels: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections stay, and it rejects what they write."""
    monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.05)
    master = next(
        one
        for one in (sentinels.master, sentinels.replica)
        if one.process.poll() is None and one.info("role") == "master"
    )
    store, link = Store(sentinels.url, budget=PATIENT), Link(sentinels.url, "test", "nothing is written")
    store.start()
    await until(lambda: store.healthy)
    await link.execute("SET", "name", "value")
    master.client.replicaof("127.0.0.1", str(free_port()))
    await until(lambda: "READONLY" in (store.problem or ""))
    assert await ask(store, b"name") == b"value", "it still reads"
    with pytest.raises(OSError, match=r"READONLY .*\(the server is a replica"):
        await link.execute("SET", "name", "other")
    assert link._connections == {}
    master.client.replicaof("NO", "ONE")
    await until(lambda: store.healthy)
    link.close()
    await store.close()
