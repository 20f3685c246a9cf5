"""All client connections of a worker: their timeouts, and the limit on their number.

    FIRST ──> HEAD ──> BODY ──> ANSWER ──> IDLE ──> HEAD ...          every phase but ANSWER has a timeout
                └────────┴─ too slow: 408, closed

All connections are checked once a second, so requests need no timers of their own. At the limit, the connections that
have been waiting longest for their clients are closed. If none is waiting, the new connection is a spare one: it is
served if it asks for health or metrics, and else gets a 503.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Protocol

RESERVE = 64  # descriptors for files, the store and the listening socket
MOST = 1 << 16  # connections
SPARE = 32  # connections above the limit
AT_A_TIME = 100  # at the limit, 1 connection in 100 is closed at once, because finding them takes a scan of all


# What a connection is waiting for. Lower phases are closed first at the limit.
FIRST = 0  # the first byte
IDLE = 1  # the next request
UNREAD = 2  # the rest of a body whose request has been answered
HEAD = 3  # the rest of the headers
BODY = 4
ANSWER = 5  # our response


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Timeouts of client connections, in seconds unless noted."""

    first: float = 20.0  # for the first byte
    head: float = 20.0  # for all headers, from their first byte
    stalled: float = 30.0  # without new bytes of a body
    grace: float = 30.0  # of a body, before the minimum rate applies
    rate: float = 1024.0  # bytes per second: minimum average of a body
    unread: float = 5.0  # to finish sending a body that is discarded
    drained: float = 5.0  # for the rest of a request while the worker is draining
    idle: float = 75.0  # between requests: longer than the idle timeout of most proxies in front
    look: float = 1.0  # between two checks


DEADLINES = Deadlines()


class Watched(Protocol):
    """A connection as its protocol maintains it. `since` and `moved_at` are in seconds of the loop's clock."""

    phase: int
    since: float  # when the wait began
    received: int  # bytes
    begun: int  # `received` when the wait began
    moved: int  # `received` at the last check that found new bytes
    moved_at: float

    def is_held(self) -> bool:
        """Whether the gateway itself has paused reading."""

    def too_slow(self) -> None:
        """Sends a 408 unless a response has begun, and closes the connection."""

    def close(self) -> None: ...

    def finish(self) -> None:
        """Closes after the response in progress, if there is one."""


class Connections:
    """`now` is the loop's clock at the last check, which is accurate enough for these timeouts and costs no call."""

    def __init__(self, most: int, clock: Callable[[], float], deadlines: Deadlines | None = None) -> None:
        self._most = most
        self._clock = clock
        self._deadlines = deadlines or DEADLINES
        self._all: set[Watched] = set()
        self._spare: dict[Watched, None] = {}  # in the order in which they came
        self._draining_since: float | None = None
        self.now = clock()

    def __repr__(self) -> str:
        return f"<Connections {len(self._all)}/{self._most}>"

    @property
    def draining(self) -> bool:
        return self._draining_since is not None

    def add(self, connection: Watched) -> bool:
        """Whether there is room for it. At the limit, waiting connections are closed to make room."""
        if len(self._all) >= self._most and not self._make_room():
            return False
        self._all.add(connection)
        return True

    def add_spare(self, connection: Watched) -> bool:
        """Whether there is room for it above the limit. The first one that still waits for its client makes room."""
        if len(self._spare) >= SPARE:
            first = next((one for one in self._spare if one.phase != ANSWER), None)
            if first is None:
                return False
            del self._spare[first]
            first.close()
        self._spare[connection] = None
        return True

    def discard(self, connection: Watched) -> None:
        self._all.discard(connection)
        self._spare.pop(connection, None)

    def drain(self) -> None:
        """Starts draining: idle connections are closed, and requests still being received get a short timeout."""
        if self._draining_since is None:
            self._draining_since = self._clock()

    def finish(self) -> None:
        """Closes every connection after its response in progress. Those without a request stay open."""
        for connection in (*self._all, *self._spare):
            connection.finish()

    def busy(self) -> int:
        """The number of connections with a request, complete or not."""
        return sum(one.phase >= HEAD for one in chain(self._all, self._spare))

    async def watch(self) -> None:
        """Checks all connections regularly. Never returns."""
        while True:
            await asyncio.sleep(self._deadlines.look)
            self.look()

    def look(self) -> None:
        self.now = self._clock()
        for connection in [one for one in chain(self._all, self._spare) if self._is_overdue(one)]:
            if connection.phase >= HEAD:
                connection.too_slow()
            else:
                connection.close()

    def _is_overdue(self, one: Watched) -> bool:
        phase = one.phase
        if phase == ANSWER:
            return False
        waited = self.now - one.since
        limits = self._deadlines
        if phase == BODY:
            return self._is_slow(one, waited)
        if self._draining_since is not None and (phase == IDLE or (phase == FIRST and waited >= limits.look)):
            return True
        if phase == HEAD:
            if self._is_late(one):
                return True
            if one.is_held():  # by the response to the previous request
                one.since = self.now
                return False
            return waited > limits.head
        return waited > (limits.first, limits.idle, limits.unread)[phase]

    def _is_slow(self, one: Watched, waited: float) -> bool:
        limits = self._deadlines
        if one.is_held():
            one.since, one.begun = self.now, one.received
            return False
        if one.received != one.moved or one.moved_at < one.since:
            one.moved, one.moved_at = one.received, self.now
        if self._is_late(one):
            return True
        late = waited > limits.grace and one.received - one.begun < limits.rate * waited
        return late or self.now - one.moved_at > limits.stalled

    def _is_late(self, one: Watched) -> bool:
        """Whether the worker drains, and the rest of this request has had its time."""
        drained = self._draining_since
        return drained is not None and self.now - max(drained, one.since) > self._deadlines.drained

    def _make_room(self) -> bool:
        """Closes the connections that have been waiting longest for their clients. Whether there is room now."""
        waiting = (one for one in self._all if one.phase != ANSWER and not one.is_held())
        chosen: Iterable[Watched] = nsmallest(
            1 + self._most // AT_A_TIME, waiting, key=lambda one: (one.phase, one.since)
        )
        for one in chosen:
            self._all.discard(one)
            one.close()
        return len(self._all) < self._most


def most_connections() -> int:
    """The connection limit: each client connection needs two descriptors, one for itself and one for its host."""
    soft, _ = getrlimit(RLIMIT_NOFILE)
    if soft == RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, (soft - RESERVE - SPARE) // 2))
