"""A real Cluster of three masters with replicas: keys on every node, a slot that moves, a master that dies."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.crc import key_slot

from gateway.config.store_address import StoreAddress
from gateway.state.cluster import Cluster
from gateway.state.gossip import Gossip
from gateway.state.link import Link
from gateway.state.store import Store, StoreStats
from gateway.state.store_error import ErrorReply, StoreError
from gateway.state.store_script import StoreScript
from tests.support.store_servers import StoreCluster, move_slot, store_cluster
from tests.support.valkey import ask, until
from tests.support.wire import talker, wire

PATIENT = 10.0  # a budget that no test uses up
KEYS = [b"key-%d" % number for number in range(30)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with store_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = Store(url, budget=PATIENT)
    store.start()
    try:
        await until(lambda: store.healthy)
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    link = Link(url, "test", "nothing is written")
    try:
        yield link
    finally:
        link.close()


async def written(store: Store, *keys: bytes, value: bytes = b"value") -> None:
    """Until other users of the store find these keys."""
    for key in keys:
        store.put(key, value, 600.0)
    async with asyncio.timeout(60):
        for key in keys:
            # A get finds what waits to be written, so nothing may wait.
            while any(lane.writes for lane in store._lanes.values()) or await ask(store, key) != value:
                await asyncio.sleep(0.01)


async def test_every_key_is_on_its_node_and_a_probe_leaves_nothing(cluster: StoreCluster) -> None:
    async with opened(cluster.url) as store:
        assert [one.client.dbsize() for one in cluster.masters] == [0, 0, 0]
        await written(store, *KEYS)
        assert {await ask(store, key) for key in KEYS} == {b"value"}
        assert store.stats.errors == store.stats.dropped == store.stats.misses == 0
        assert all(one.client.dbsize() for one in cluster.masters)
        assert sum(one.client.dbsize() for one in cluster.masters) == len(KEYS)
        assert 0 < cluster.owner("key-1").client.pttl("key-1") <= 600_000


async def test_background_work_goes_to_the_node_of_its_keys(cluster: StoreCluster) -> None:
    both = StoreScript("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])")
    async with linked(cluster.url) as link:
        assert await link.execute_all([("SET", f"number-{number}", number) for number in range(20)]) == [b"OK"] * 20
        assert await link.execute("GET", "number-7") == b"7"
        assert await link.execute("PING") == b"PONG"
        for tag in ("a", "b", "c", "d"):
            await link.writable(tag)
            assert await link.run(both, [f"gw:{{{tag}}}:name", f"gw:{{{tag}}}:count"], ["x"]) == 1
            assert await link.run(both, [f"gw:{{{tag}}}:name", f"gw:{{{tag}}}:count"], ["x"]) == 2
        assert await link.execute("XREAD", "COUNT", 1, "STREAMS", "none", "0") is None
        with pytest.raises(ErrorReply, match="CROSSSLOT"):
            await link.execute("MGET", "number-1", "number-2")
        assert await link.execute("GET", "number-7") == b"7"


async def test_workers_of_a_cluster_share_what_they_know(cluster: StoreCluster) -> None:
    one, two = (Gossip({}, cluster.url, asyncio.get_running_loop().time) for _ in range(2))
    assert await one.share()
    assert await two.share()
    assert cluster.owner("gw:{gossip}:present").client.hlen("gw:{gossip}:present") == 2
    one.close()
    two.close()


async def test_users_in_one_process_share_the_table_of_slots(cluster: StoreCluster) -> None:
    async with linked(cluster.url) as one, linked(cluster.url) as two, opened(cluster.url) as store:
        await one.execute("PING")
        await two.execute("PING")
        assert one._topology is two._topology is store._topology


async def test_a_slot_that_moves_costs_no_get_and_no_write(cluster: StoreCluster) -> None:
    """ASK while its keys move, TRYAGAIN for keys on both sides, then MOVED."""
    source = cluster.owner("gw:{moving}:old")
    target = next(one for one in cluster.masters if one is not source)
    old, new, late = (b"gw:{moving}:" + name for name in (b"old", b"new", b"late"))
    async with opened(cluster.url) as store, linked(cluster.url) as link:
        await written(store, old)
        for step in move_slot(key_slot(b"moving"), source, target):
            assert await ask(store, old) == b"value"
            assert await link.execute("GET", old) == b"value"
            store.put(new, step.encode(), 600.0)
            async with asyncio.timeout(60):
                while await link.execute("GET", new) != step.encode():
                    await asyncio.sleep(0.01)
            if step == "migrating":  # the source has the one, the target the other
                with pytest.raises(ErrorReply, match="TRYAGAIN"):
                    await link.execute("MGET", old, new)
        await written(store, late)
        assert await link.execute("MGET", old, new, late) == [b"value", b"moved", b"value"]
        assert cluster.owner("gw:{moving}:old") is target
        assert store.stats._replace(hits=0) == StoreStats()
        assert store.healthy


async def test_a_master_that_dies_costs_its_own_keys_until_its_replica_takes_over(
    cluster: StoreCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.05)
    async with opened(cluster.url) as store, linked(cluster.url) as link:
        await written(store, *KEYS)
        await link.execute("SET", "key-1", "value")
        victim = cluster.owner("key-1")
        lost = {key for key in KEYS if cluster.owner(key.decode()) is victim}
        victim.kill()
        await until(lambda: not store.healthy)
        assert await ask(store, b"key-1") is None
        assert victim.address in (store.problem or "") or "CLUSTERDOWN" in (store.problem or "")
        async with asyncio.timeout(60):
            while True:
                with suppress(OSError):
                    assert await link.execute("GET", "key-1") == b"value"
                    break
                await asyncio.sleep(0.05)
        await until(lambda: store.healthy)
        assert len(store._lanes) == 3
        assert {await ask(store, key) for key in KEYS} == {b"value"}
        assert lost != set(KEYS), "the others' keys are elsewhere"
        await written(store, b"key-1", value=b"new")
        assert await link.execute("GET", "key-1") == b"new"


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        ("redis", "CROSSSLOT Keys in request don't hash to the same slot (the server is a node of a Cluster: "),
        ("redis+sentinel", "(the server is not a Sentinel: write redis:// in the store's URL)"),
    ],
)
async def test_a_node_named_as_another_kind_of_store_says_what_it_is(
    cluster: StoreCluster, scheme: str, says: str
) -> None:
    end = "/gw" if scheme == "redis+sentinel" else ""
    store = Store(f"{scheme}://{cluster.masters[0].address}{end}")
    store.start()
    await until(lambda: says in (store.problem or ""))
    assert not store.healthy
    await store.close()


async def test_a_server_that_is_no_cluster_says_so(engine: str) -> None:
    async with wire(engine) as proxy:
        store = Store(proxy.url.replace("redis://", "redis+cluster://").removesuffix("/0"))
        store.start()
        await until(lambda: "write redis:// in the store's URL" in (store.problem or ""))
        assert await ask(store, b"name") is None
        await store.close()


class TestScripted:
    """What a real Cluster seldom says."""

    @staticmethod
    def slots(url: str) -> bytes:
        port = url.rpartition(":")[2].removesuffix("/0")
        return f"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$4\r\nnode\r\n".encode()

    @pytest.mark.parametrize(
        "reply",
        [
            b"-MOVED 5798 127.0.0.1:1\r\n",
            b"-MOVED nonsense\r\n",
            b"-ASK 5798 127.0.0.1:1\r\n",
            b"-ASK\r\n",
            b"-CLUSTERDOWN Hash slot not served\r\n",
            b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
            b"-MASTERDOWN Link with MASTER is down\r\n",
            b"-LOADING Redis is loading the dataset in memory\r\n",
        ],
        ids=lambda reply: reply.decode().strip(),
    )
    async def test_a_node_that_sends_elsewhere_for_ever_is_an_error(self, reply: bytes) -> None:
        said: list[bytes] = []
        async with talker(lambda asked: said[0] if b"SLOTS" in asked else reply) as url:
            said.append(self.slots(url))
            async with linked(url.replace("redis://", "redis+cluster://")) as link:
                with pytest.raises(OSError, match=r"\w"):
                    await link.execute("GET", "name")
            store = Store(url.replace("redis://", "redis+cluster://"))
            store.start()
            await until(lambda: bool(store._lanes) and store.problem not in (None, "not connected yet"))
            await store.close()

    @pytest.mark.parametrize(
        "reply",
        [b"*0\r\n", b"*1\r\n:1\r\n", b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"-NOPERM User has no permissions\r\n"],
    )
    async def test_a_table_of_slots_that_is_none_is_a_store_error(self, reply: bytes) -> None:
        async with talker(lambda asked: reply) as url:
            cluster = Cluster(StoreAddress.parse(url.replace("redis://", "redis+cluster://")))
            with pytest.raises(StoreError, match="NOPERM" if b"NOPERM" in reply else None):
                await cluster.load()
            assert cluster.owner(b"name") is None
            assert cluster.servers() == frozenset()
