"""How much a worker takes on at once. What is more is refused at once, so that what is under way ends well.

memory of the machine, or of the container ──half, shared by the workers──> requests under way, bytes of their bodies
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SHARE = 0.5  # of the memory, for requests under way
EACH = 64 * 1024  # bytes that a request takes beside its body
COPIES = 6  # a body takes so many times its size: as it came, read, and as hosts get it
FEWEST = 64  # requests
UNKNOWN_MEMORY = 1 << 30  # bytes
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Admission:
    """What one worker has under way. `shed` is called with the reason of every refusal."""

    def __init__(self, most_requests: int, most_bytes: int, shed: Callable[[str], None]) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.shed = shed
        self.requests = 0
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Load {self.requests}/{self._most_requests} requests, {self.bytes}/{self._most_bytes} bytes>"

    def enter(self, size: int) -> bool:
        """Whether a request with a body of so many bytes is taken; who is, must `leave`."""
        if self.requests >= self._most_requests:
            self.shed("requests")
            return False
        if not self.grow(size):
            return False
        self.requests += 1
        return True

    def grow(self, size: int) -> bool:
        """The same for more bytes of a body whose length was not known. One body is always taken."""
        if size and self.bytes and self.bytes + size > self._most_bytes:
            self.shed("bodies")
            return False
        self.bytes += size
        return True

    def leave(self, size: int) -> None:
        self.requests -= 1
        self.bytes -= size


def limits(memory: int, workers: int, most_requests: int | None) -> tuple[int, int]:
    """The most requests and bytes of bodies for one of so many workers; `most_requests` is the operator's word."""
    share = int(memory * SHARE / workers)
    return most_requests or max(FEWEST, share // EACH), share // COPIES


def memory_limit() -> int:
    """Bytes that this process may have: the machine's, or what its container allows."""
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
