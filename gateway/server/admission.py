"""Admission control: how many requests a worker serves at once. Any more are rejected immediately, so that those in
flight can finish.

memory of the machine or its container ──half, shared by the workers──> requests in flight, bytes of their bodies
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SHARE = 0.5  # of the memory, for requests in flight
EACH = 64 * 1024  # bytes that a request takes in addition to its body
COPIES = 6  # memory that a body takes, as a multiple of its size: received, parsed, and as sent to hosts
FEWEST = 64  # requests: the lowest limit
UNKNOWN_MEMORY = 1 << 30  # bytes that are assumed if no limit is found
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Admission:
    """The requests in flight of one worker. `shed` is called with the reason of every rejection."""

    def __init__(self, most_requests: int, most_bytes: int, shed: Callable[[str], None]) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.shed = shed
        self.requests = 0
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Admission {self.requests}/{self._most_requests} requests, {self.bytes}/{self._most_bytes} bytes>"

    def enter(self, size: int) -> bool:
        """Whether a request with a body of `size` bytes is admitted. If so, the caller must call `leave` later."""
        if self.requests >= self._most_requests:
            self.shed("requests")
            return False
        if not self.grow(size):
            return False
        self.requests += 1
        return True

    def grow(self, size: int) -> bool:
        """The same for `size` more bytes of a body of unknown length. A single body is always admitted."""
        if size and self.bytes and self.bytes + size > self._most_bytes:
            self.shed("bodies")
            return False
        self.bytes += size
        return True

    def leave(self, size: int) -> None:
        self.requests -= 1
        self.bytes -= size


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
