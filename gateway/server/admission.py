"""Admission control: how many requests a worker serves at once. Any more are rejected immediately, so that those in
flight can finish.

    memory of the machine or its container ──half, shared by the workers──> requests in flight, bytes of their bodies
    of these, one key may hold four times what it leaves free

So one key can have four fifths of everything, two keys four ninths each, and some is always free: a key with few
requests is admitted, however many another one sends. This is the dynamic threshold of shared switch buffers; it needs
no list of keys and no clock.

A worker without CPU time left has a lower limit (`slow_down`), which may be below what is in flight: streams go on.
Above it, a key is admitted if it holds less than an equal share of what is in flight.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path

SHARE = 0.5  # of the memory, for requests in flight
EACH = 64 * 1024  # bytes that a request takes in addition to its body
COPIES = 6  # memory that a body takes, as a multiple of its size: received, parsed, and as sent to hosts
MOST_KEYS = 1024
SLOWER = 0.9  # of what is in flight, when the worker has no CPU time left
FASTER = 0.02  # by which that limit grows at each look at a worker that has
PER_FREE = 4  # what a key may hold, as a multiple of what is free
FEWEST = 64  # requests: the lowest limit
UNKNOWN_MEMORY = 1 << 30  # bytes that are assumed if no limit is found
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class KeyLoad:
    """What the requests in flight of one key hold: their number, and the bytes of their bodies."""

    __slots__ = ("bytes", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<KeyLoad {self.requests} requests, {self.bytes} bytes>"


class Admission:
    """The requests in flight of one worker. `shed` is called with the reason of every rejection.

    Keys are identified by their digest; it is empty without keys, and then there is no share. There are `MOST_KEYS`
    entries, and more only as far as so many keys have requests in flight.
    """

    def __init__(self, most_requests: int, most_bytes: int, shed: Callable[[str], None]) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._keys: dict[bytes, KeyLoad] = {}
        self._slowed: float = inf  # requests in flight, above which only keys with few are admitted
        self._equal = 0.0  # requests in flight: what each key with any would have of them
        self.shed = shed
        self.requests = 0
        self.bytes = 0

    @property
    def slowed(self) -> bool:
        return self._slowed < inf

    def __repr__(self) -> str:
        return f"<Admission {self.requests}/{self._most_requests} requests, {self.bytes}/{self._most_bytes} bytes>"

    def limit(self, most_requests: int, most_bytes: int) -> None:
        """Takes other limits. Requests above them that are in flight stay."""
        self._most_requests, self._most_bytes = most_requests, most_bytes

    def enter(self, key: bytes, size: int) -> bool:
        """Whether a request with a body of `size` bytes is admitted. If so, the caller must call `leave` later."""
        held = self._keys.get(key)
        if held is None:
            held = self._added(key)
        free, own = self._most_requests - self.requests, held.requests
        if free < 1:
            return self._rejects("requests")
        if self.requests >= self._slowed and (not key or own >= self._equal):
            return self._rejects("lag")
        if own and key and own + 1 > PER_FREE * (free - 1):
            return self._rejects("key")
        if size and self.bytes and not self._fits(held, key, size):
            return False
        held.requests = own + 1
        held.bytes += size
        self.requests += 1
        self.bytes += size
        return True

    def grow(self, key: bytes, size: int) -> bool:
        """The same for `size` more bytes of an admitted request's body. A single body is always admitted."""
        held = self._keys[key]
        if size and self.bytes and not self._fits(held, key, size):
            return False
        held.bytes += size
        self.bytes += size
        return True

    def leave(self, key: bytes, size: int) -> None:
        held = self._keys[key]
        held.requests -= 1
        held.bytes -= size
        self.requests -= 1
        self.bytes -= size

    def slow_down(self) -> None:
        """The worker has no CPU time left: fewer requests from now on, but never less than `FEWEST`."""
        self._slowed = max(FEWEST, int(min(self.requests, self._slowed) * SLOWER))
        self._share_equally()

    def speed_up(self) -> None:
        """The worker has CPU time left: its lower limit grows, until it limits nothing."""
        self._slowed += max(1.0, self._slowed * FASTER)
        if self._slowed > self._most_requests:
            self._slowed = inf
        self._share_equally()

    def _share_equally(self) -> None:
        self._equal = self.requests / max(1, sum(held.requests > 0 for held in self._keys.values()))

    def _added(self, key: bytes) -> KeyLoad:
        """A new key's entry. Keys without requests are forgotten only when there are many."""
        if len(self._keys) >= MOST_KEYS:
            self._keys = {other: held for other, held in self._keys.items() if held.requests}
        held = self._keys[key] = KeyLoad()
        return held

    def _fits(self, held: KeyLoad, key: bytes, size: int) -> bool:
        free = self._most_bytes - self.bytes
        if size > free:
            return self._rejects("bodies")
        if key and held.bytes and held.bytes + size > PER_FREE * (free - size):
            return self._rejects("key")
        return True

    def _rejects(self, reason: str) -> bool:
        self.shed(reason)
        return False


def limits(memory: int, workers: int, most_requests: int | None) -> tuple[int, int]:
    """The limits of one of `workers` workers: requests, and bytes of their bodies. `memory` is in bytes;
    `most_requests`, if set, is the operator's limit."""
    share = int(memory * SHARE / workers)
    return most_requests or max(FEWEST, share // EACH), share // COPIES


def memory_limit() -> int:
    """The memory limit of this process in bytes: the machine's or its container's, whichever is lower."""
    found = [limit for path in LIMITS if (limit := _read(Path(path)))]
    with suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=UNKNOWN_MEMORY)


def _read(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # `max`: no limit
