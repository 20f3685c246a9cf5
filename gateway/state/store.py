"""The store: a Redis or Valkey that replicas share, as the paths of requests use it.

    get, put ──key──> Topology.owner ──> the Lane of that server ──> batches over one connection
                                         one lane; in a Cluster one for each master

Nothing here may delay or fail a request: see `Lane`. A node of a Cluster that is slow or down costs its own keys only.
Only commands that Redis 7.0 and Valkey share are used.
"""

import asyncio
from typing import NamedTuple

from gateway.config.store_address import StoreAddress
from gateway.state.lane import FIRST_PAUSE, LONGEST_PAUSE, REPLY_WITHIN, Lane, log
from gateway.state.queued import Get, Put, Then, expiry
from gateway.state.store_counts import StoreCounts
from gateway.state.store_error import Command
from gateway.state.topologies import find
from gateway.state.topology import Topology

GET_WITHIN = 0.025  # seconds; a request waits for it
MOST_REASONS = 10  # that are logged before the servers are known


class StoreStats(NamedTuple):
    """Counts since the start. Every command ends in one of these, or is a successful write."""

    hits: int = 0
    misses: int = 0  # no such key in the store
    timeouts: int = 0  # gets without a reply within the budget
    errors: int = 0  # rejected by the store, or lost with the connection
    dropped: int = 0  # never sent: the store was down or did not reply, or the queue full


class Store:
    """`url`: as `StoreAddress.parse` reads it. `budget`: seconds that a get may take.

    All methods must be called from the event loop's thread. ConfigError when the URL is invalid.
    """

    def __init__(self, url: str, *, budget: float = GET_WITHIN) -> None:
        self._address = StoreAddress.parse(url)
        self._budget = budget
        self._counts = StoreCounts()
        self._topology: Topology | None = None
        self._lanes: dict[str, Lane] = {}  # by server
        self._only: Lane | None = None  # where there is one server
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = "not connected yet"  # None once the servers are known
        self._closed = False

    def __repr__(self) -> str:
        return f"Store({str(self._address)!r}, {', '.join(map(repr, self._lanes.values())) or 'new'})"

    @property
    def healthy(self) -> bool:
        """Whether all servers were reachable at the last attempt, and took writes."""
        return not self._closed and self.problem is None and all(lane.healthy for lane in self._lanes.values())

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None while all servers are reachable and take writes."""
        problems = (f"{lane.server}: {lane.problem}" for lane in self._lanes.values() if lane.server and lane.problem)
        return self._trouble or (self._only.problem if self._only else next(problems, None))

    @property
    def stats(self) -> StoreStats:
        counts = self._counts
        return StoreStats(counts.hits, counts.misses, counts.timeouts, counts.errors, counts.dropped)

    def start(self) -> None:
        """Starts connecting; until connected, every get is a miss."""
        self._task = asyncio.create_task(self._find(), name="store")

    async def close(self) -> None:
        """Sends the queued writes, for a second at most. Open gets are misses, and so are later ones."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    def get(self, key: bytes, then: Then, ttl: float = 0.0) -> None:
        """Calls `then` once, later, from the event loop: with the value, or with None for every kind of miss.

        `ttl`: if given, an existing key expires that many seconds from now.
        """
        lane = self._only or self._lane(key)
        if lane is None:
            self._counts.dropped += 1
            asyncio.get_running_loop().call_soon(then, None)
            return
        command: Command = (b"GETEX", key, *expiry(ttl)) if ttl else (b"GET", key)
        lane.get(command, then, self._budget)

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Sets a key that expires after `ttl` seconds, asynchronously. Later gets of this worker find it."""
        lane = self._only or self._lane(key)
        if lane is None:
            self._counts.dropped += 1
            return
        lane.put(key, value, ttl)

    async def _find(self) -> None:
        """Finds the servers, however long that takes."""
        topology, pause, logged = await find(self._address), FIRST_PAUSE, set[str]()
        while self._topology is None:
            try:
                async with asyncio.timeout(REPLY_WITHIN):
                    await topology.load()
                self._topology = topology
            except Exception as error:  # not only OSError: this task must not end without them
                reason = str(error) or f"no reply within {REPLY_WITHIN:g} s"
                if reason not in logged and len(logged) < MOST_REASONS:  # nodes of a Cluster take turns to say why
                    log.warning("store %s is down, going on without it: %s", self._address, reason)
                    logged.add(reason)
                self._trouble = reason
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self._add_lanes()
        self._trouble = None

    def _lane(self, key: bytes) -> Lane | None:
        server = self._topology.owner(key) if self._topology is not None else None
        return None if server is None else self._lane_of(server)

    def _lane_of(self, server: str) -> Lane | None:
        lane = self._lanes.get(server)
        if lane is None and self._topology is not None and not self._closed:
            name = f"{self._address}, {server}" if server else str(self._address)
            lane = Lane(self._topology, server, name, self._counts, self._redirect, self._forget)
            self._lanes[server] = lane
        return lane

    def _add_lanes(self) -> None:
        servers = self._topology.servers() if self._topology is not None else ()
        for server in servers:
            self._lane_of(server)
        self._only = self._lanes.get("")

    def _redirect(self, one: Get | Put, server: str) -> bool:
        lane = self._lane_of(server)
        return lane is not None and lane.take(one)

    def _forget(self, lane: Lane) -> None:
        """A server of the Cluster has no keys any more: others have them."""
        self._lanes.pop(lane.server, None)
        self._add_lanes()
