"""TLS to a Cluster and to what Sentinels name: an authority of its own, clients' certificates, users with few rights.

The servers want a client's certificate, also from each other. A failover goes the same way.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.state.link import Link
from gateway.state.store import Store
from tests.support.store_servers import SentinelSet, StoreCluster, StoreServer, StoreTls, sentinel_set, store_cluster
from tests.support.valkey import ask, until

KEY = "gw:{tls}:name"
PATIENT = 10.0  # a budget that no test uses up


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> StoreTls:
    return StoreTls(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def cluster(tls: StoreTls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with store_cluster(tmp_path_factory.mktemp("cluster"), tls) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def sentinels(tls: StoreTls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    with sentinel_set(tmp_path_factory.mktemp("sentinels"), tls) as sentinels:
        yield sentinels


async def problem(url: str, word: str) -> str:
    """What a store that cannot be used says, once it says this word."""
    store = Store(url)
    store.start()
    await until(lambda: word in (store.problem or ""))
    assert not store.healthy
    said = store.problem or ""
    await store.close()
    return said


async def rejected(url: str) -> None:
    said = await problem(url.replace("/ca.pem", "/client.pem"), "CERTIFICATE_VERIFY_FAILED")
    assert "protocol" not in said, "the server is a Redis"
    await problem(url.replace("p%40ss%2Fword@", "other@"), "WRONGPASS")
    await problem(url.partition("&ssl_certfile")[0], "ertificate")


async def followed(url: str, master: StoreServer) -> None:
    """What was written before a failover is found afterwards, and what is written then."""
    store, link = Store(url, budget=PATIENT), Link(url, "test", "nothing is written")
    store.start()
    await until(lambda: store.healthy)
    store.put(KEY.encode(), b"value", 600.0)
    async with asyncio.timeout(60):
        while await link.execute("GET", KEY) != b"value":
            await asyncio.sleep(0.01)
    assert {one["user"] for one in master.client.client_list(_type="normal")} == {StoreTls.user, "default"}
    assert master.client.wait(1, 0) == 1
    master.kill()
    await until(lambda: not store.healthy)
    await until(lambda: store.healthy)
    assert await ask(store, KEY.encode()) == b"value"
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                assert await link.execute("SET", KEY, "new") == b"OK"
                break
            await asyncio.sleep(0.05)
    link.close()
    await store.close()


async def test_a_cluster(cluster: StoreCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.05)
    await rejected(cluster.url)
    await followed(cluster.url, cluster.owner(KEY))
    assert cluster.owner(KEY).client.get(KEY) == "new"


async def test_sentinels(sentinels: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.05)
    await rejected(sentinels.url)
    await problem(sentinels.url.replace("sentinel_password=p%40ss%2Fword", "sentinel_password=other"), "WRONGPASS")
    await followed(sentinels.url, sentinels.master)
    assert sentinels.replica.client.get(KEY) == "new"
