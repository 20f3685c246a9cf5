"""A store that is a Cluster: each key is on the node that has the key's slot.

    CLUSTER SLOTS of any node ──redis-py's NodesManager──> slot -> node
    MOVED ──> one slot, or a failed master's range of slots, goes to another node
    a connection is lost ──> the table is read again from another node

The table takes 1 MB and 7 ms, so that all users in one process share it; each has connections of its own.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.cluster import PRIMARY
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError, ResponseError

from gateway.config.store_address import Host, StoreAddress
from gateway.state.store_connection import Opener, StoreConnection, store_error
from gateway.state.store_error import ASK, MOVED, Command, ErrorReply, StoreError
from gateway.state.topology import Redirect, probe

NODE_WITHIN = 0.3  # seconds for a node's table; then the next one is read
READ_AGAIN_AFTER = 0.25  # seconds
PROBE_KEYS = 10_000  # that are tried until one is on a node


class Cluster:
    """See `Topology`."""

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._opener = Opener(address)
        self._nodes: NodesManager | None = None
        self._servers = frozenset[str]()
        self._read_at = 0.0  # on the loop's clock
        self._lock = asyncio.Lock()
        self._probes: dict[str, bytes] = {}  # a key of each server

    def __repr__(self) -> str:
        return f"<Cluster {self._address}, {len(self._servers)} servers>"

    def servers(self) -> frozenset[str]:
        return self._servers

    def owner(self, key: bytes) -> str | None:
        nodes = self._nodes.slots_cache.get(key_slot(key)) if self._nodes else None
        return nodes[0].name if nodes else None

    async def load(self) -> None:
        async with self._lock:
            now = asyncio.get_running_loop().time
            if self._nodes is None or now() - self._read_at > READ_AGAIN_AFTER:
                self._nodes = await self._read(self._nodes)
                self._servers = frozenset(nodes[0].name for nodes in self._nodes.slots_cache.values())
                self._probes = {server: key for server, key in self._probes.items() if server in self._servers}
                self._read_at = now()

    async def open(self, server: str) -> StoreConnection:
        return await self._opener.open(_host(server))

    async def redirect(self, reply: ErrorReply, server: str) -> Redirect | None:
        if reply.code not in (MOVED, ASK) or self._nodes is None:
            return None
        try:
            error = MovedError(reply.details)  # ASK has the same form
        except ValueError:
            return None
        error.host = error.host or _host(server).name  # the node does not know how it is reached
        target = f"{error.host}:{error.port}"
        if reply.code == MOVED and error.slot_id in self._nodes.slots_cache:
            await self._nodes.move_slot(error)
            target = self._nodes.slots_cache[error.slot_id][0].name
            self._servers |= {target}
        return Redirect(target, reply.code == ASK)

    def probe(self, server: str, key: bytes = b"") -> Command | None:
        """With one key, which is on the server."""
        if not key and server in self._servers:
            key = self._probes.get(server, b"")
            if not key or self.owner(key) != server:
                tried = (b"gw:probe:%d" % number for number in range(PROBE_KEYS))
                self._probes[server] = key = next((one for one in tried if self.owner(one) == server), b"")
        return probe(key) if key else None

    async def _read(self, before: NodesManager | None) -> NodesManager:
        options = {**await self._opener.options(), "socket_timeout": NODE_WITHIN, "socket_connect_timeout": NODE_WITHIN}
        known = [Host(node.host, int(node.port)) for node in before.nodes_cache.values()] if before else []
        hosts = dict.fromkeys((*known, *self._address.hosts))
        startup = [ClusterNode(host.name, host.port, PRIMARY, **options) for host in hosts]
        nodes = NodesManager(
            startup, require_full_coverage=False, connection_kwargs=options, dynamic_startup_nodes=False
        )
        try:
            await nodes.initialize()
        except Exception as error:  # redis-py raises others too for replies that it does not expect
            raise _explained(error) from None
        finally:
            await nodes.aclose("startup_nodes")
        return nodes


def _host(server: str) -> Host:
    name, _, port = server.rpartition(":")
    return Host(name, int(port))


def _explained(error: Exception) -> StoreError:
    """What a node said, which redis-py's exception has as its cause."""
    said = next((one for one in _chain(error) if isinstance(one, RedisError | OSError)), error)
    explained = store_error(said)
    if isinstance(said, ResponseError) and "cluster support disabled" in str(said):
        return StoreError(f"{explained} (the server is not a node of a Cluster: write redis:// in the store's URL)")
    if isinstance(error, IndexError):  # in the list of masters
        return StoreError("the Cluster has no slots yet")
    return explained


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The innermost first."""
    chain: list[BaseException] = []
    step: Any = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    return reversed(chain)
