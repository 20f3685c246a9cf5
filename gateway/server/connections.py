"""All client connections of a worker: how long each may keep it waiting, and how many there are.

    FIRST ──> HEAD ──> BODY ──> ANSWER ──> IDLE ──> HEAD ...          each but ANSWER has a deadline
                └────────┴─ too slow: 408, closed

One look at all of them a second in place of a timer for each request. At the limit the connection that has waited
longest for its client makes room; where none waits, the newcomer gets a 503.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Protocol

RESERVE = 64  # descriptors for files, the store and the listening socket
MOST = 1 << 16  # connections
AT_A_TIME = 100  # one in so many is closed when there is no room: the look at all of them then pays


# What a connection waits for. The lower, the sooner it makes room.
FIRST = 0  # its first byte
IDLE = 1  # another request
UNREAD = 2  # the end of a body whose request was answered
HEAD = 3  # the rest of it
BODY = 4
ANSWER = 5  # us


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a client has."""

    first: float = 20.0  # for the first byte
    head: float = 20.0  # for a whole head, from its first byte on
    stalled: float = 30.0  # between two pieces of a body
    grace: float = 30.0  # of a body, until the rate below counts
    rate: float = 1024.0  # bytes a second, over the whole body
    unread: float = 5.0  # to finish a body that is thrown away
    drained: float = 5.0  # for the rest of a request when the worker is about to end
    idle: float = 75.0  # between two requests: longer than proxies in front usually keep one
    look: float = 1.0  # between two looks


DEADLINES = Deadlines()


class Watched(Protocol):
    """A connection, as its protocol keeps it. `received` counts bytes, `since` and `moved_at` are of the clock."""

    phase: int
    since: float  # since when it waits
    received: int
    begun: int  # `received` when it began to wait
    moved: int  # `received` at the last look that saw it grow
    moved_at: float

    def is_held(self) -> bool:
        """Whether we keep it from sending."""

    def too_slow(self) -> None:
        """Answers 408 where nothing was answered, and closes."""

    def close(self) -> None: ...


class Connections:
    """`now` is the loop's clock as of the last look: good enough for deadlines, and free."""

    def __init__(self, most: int, clock: Callable[[], float], deadlines: Deadlines | None = None) -> None:
        self._most = most
        self._clock = clock
        self._deadlines = deadlines or DEADLINES
        self._all: set[Watched] = set()
        self._draining_since: float | None = None
        self.now = clock()

    def __repr__(self) -> str:
        return f"<Connections {len(self._all)}/{self._most}>"

    def add(self, connection: Watched) -> bool:
        """Whether there is room for it, if need be because others are closed."""
        if len(self._all) >= self._most and not self._make_room():
            return False
        self._all.add(connection)
        return True

    def discard(self, connection: Watched) -> None:
        self._all.discard(connection)

    def drain(self) -> None:
        """No new work: who is still sending a request gets little time for it."""
        if self._draining_since is None:
            self._draining_since = self._clock()

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._deadlines.look)
            self.look()

    def look(self) -> None:
        self.now = self._clock()
        for connection in [one for one in self._all if self._is_overdue(one)]:
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
        if self._draining_since is not None and phase <= IDLE:
            return True
        if phase == HEAD:
            if one.is_held():  # by an answer to the request before it
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
        if self._draining_since is not None and self.now - max(self._draining_since, one.since) > limits.drained:
            return True
        late = waited > limits.grace and one.received - one.begun < limits.rate * waited
        return late or self.now - one.moved_at > limits.stalled

    def _make_room(self) -> bool:
        """Closes those that have waited longest for their clients."""
        waiting = (one for one in self._all if one.phase != ANSWER and not one.is_held())
        chosen: Iterable[Watched] = nsmallest(
            1 + self._most // AT_A_TIME, waiting, key=lambda one: (one.phase, one.since)
        )
        for one in chosen:
            self._all.discard(one)
            one.close()
        return len(self._all) < self._most


def most_connections() -> int:
    """How many clients leave a descriptor each for the hosts that are asked for them."""
    soft, _ = getrlimit(RLIMIT_NOFILE)
    if soft == RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, (soft - RESERVE) // 2))
