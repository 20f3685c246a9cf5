"""Real Valkey servers on TCP ports: alone, as a Cluster with replicas, or behind Sentinels. They end with the tests.

with store_cluster(folder) as cluster: cluster.url, cluster.owner(key).kill()
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis
from redis.crc import key_slot

from gateway.state.embedded import _packaged_binary
from gateway.state.parent_death import end_with_parent
from tests.support.ports import free_port

GUARD = 120.0  # seconds after which a server that is not ready is a failure
COMMON = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
SLOTS = 16_384
PASSWORD = "p@ss/word"  # of Sentinels


class StoreServer:
    """One process. `client` is another user of it."""

    def __init__(self, folder: Path, *options: object, config: str = "") -> None:
        self.port = free_port()
        own = folder / str(self.port)
        own.mkdir()
        first: tuple[object, ...] = ()
        if config:
            (own / "own.conf").write_text(config)
            first = (own / "own.conf",)
        arguments = [*first, "--port", self.port, "--dir", own, *COMMON, *options]
        with (own / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [_packaged_binary(), *map(str, arguments)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent(os.getpid()),
            )
        login = {"password": PASSWORD} if "requirepass" in config else {}
        self.client = redis.Redis(port=self.port, decode_responses=True, **login)  # type: ignore[arg-type]
        until(self._replies)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def info(self, name: str) -> str:
        found: str = str(self.client.execute_command("INFO", "replication")[name])
        return found

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.client.close()
        self.kill()

    def _replies(self) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False


class StoreCluster:
    """Three masters with a replica each; the masters first."""

    def __init__(self, servers: list[StoreServer]) -> None:
        self.servers = servers

    @property
    def masters(self) -> list[StoreServer]:
        return [one for one in self.servers if one.process.poll() is None and one.info("role") == "master"]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(one.address for one in self.servers[1:3])}"

    def owner(self, key: str) -> StoreServer:
        return next(one for one in self.masters if _has(one, key_slot(key.encode())))

    def ready(self) -> bool:
        """Whether all that run agree that every slot is served, and replicas are in step."""
        alive = [one for one in self.servers if one.process.poll() is None]
        served = all(one.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for one in alive)
        return served and all(one.info("role") == "master" or one.info("master_link_status") == "up" for one in alive)


@contextmanager
def store_cluster(folder: Path) -> Iterator[StoreCluster]:
    with ExitStack() as ended:
        servers = []
        for _ in range(6):
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", 1000, "--cluster-port", free_port())
            servers.append(StoreServer(folder, *options))
            ended.callback(servers[-1].close)
        first = servers[0]
        for place, one in enumerate(servers[:3]):
            one.client.execute_command("CLUSTER", "ADDSLOTSRANGE", SLOTS * place // 3, SLOTS * (place + 1) // 3 - 1)
            one.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for one in servers[1:]:
            bus = one.client.config_get("cluster-port")["cluster-port"]
            first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", one.port, bus)
        until(lambda: all(_known(one) == 6 for one in servers))
        for master, replica in zip(servers[:3], servers[3:], strict=True):
            replica.client.execute_command("CLUSTER", "REPLICATE", master.client.execute_command("CLUSTER MYID"))
        cluster = StoreCluster(servers)
        until(cluster.ready)
        until(lambda: all(len(one) == 4 for each in servers for one in each.client.execute_command("CLUSTER SLOTS")))
        yield cluster


class SentinelSet:
    """A master `gw` with a replica, and three Sentinels with a password of their own."""

    def __init__(self, master: StoreServer, replica: StoreServer, sentinels: list[StoreServer]) -> None:
        self.master = master
        self.replica = replica
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        places = ",".join(one.address for one in self.sentinels)
        return f"redis+sentinel://{places}/gw?sentinel_password=p%40ss%2Fword"


@contextmanager
def sentinel_set(folder: Path) -> Iterator[SentinelSet]:
    with ExitStack() as ended:
        master = StoreServer(folder)
        ended.callback(master.close)
        replica = StoreServer(folder, "--replicaof", f"127.0.0.1 {master.port}")
        ended.callback(replica.close)
        until(lambda: replica.info("master_link_status") == "up")
        config = (
            f"requirepass {PASSWORD}\nsentinel sentinel-pass {PASSWORD}\n"
            f"sentinel monitor gw 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds gw 500\nsentinel failover-timeout gw 3000\n"
        )
        sentinels = []
        for _ in range(3):
            sentinels.append(StoreServer(folder, "--sentinel", config=config))
            ended.callback(sentinels[-1].close)
        # A vote needs Sentinels that know each other and the replica.
        until(lambda: all(len(one.client.sentinel_sentinels("gw")) == 2 for one in sentinels))
        until(lambda: all(len(one.client.sentinel_slaves("gw")) == 1 for one in sentinels))
        yield SentinelSet(master, replica, sentinels)


def move_slot(slot: int, source: StoreServer, target: StoreServer) -> Iterator[str]:
    """Moves a slot as redis-cli does; stops after each step, and says which."""
    ids = {one: one.client.execute_command("CLUSTER MYID") for one in (source, target)}
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    yield "migrating"
    while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    yield "keys moved"
    for one in (target, source):
        one.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    yield "moved"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline, "the servers are not ready"
        time.sleep(0.02)


def _known(server: StoreServer) -> int:
    return int(server.client.execute_command("CLUSTER INFO")["cluster_known_nodes"])


def _has(server: StoreServer, slot: int) -> bool:
    me = server.client.execute_command("CLUSTER MYID")
    ranges = server.client.execute_command("CLUSTER SLOTS")
    return any(first <= slot <= last and master[2] == me for first, last, master, *_ in ranges)
