"""The processes that a process started, and whether they have ended. Linux only: read from /proc."""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

GUARD = 60.0  # seconds after which a process that still runs is a failure
HEAP = 64 << 20  # bytes of addresses that glibc reserves for a heap


def descendants(pid: int) -> set[int]:
    """Children, their children and so on, that run now."""
    parents = {int(path.name): facts[1] for path in Path("/proc").glob("[0-9]*") if (facts := _facts(int(path.name)))}
    found = {pid}
    while more := {child for child, parent in parents.items() if int(parent) in found} - found:
        found |= more
    return found - {pid}


def running(pids: Iterable[int]) -> set[int]:
    """Those that have not ended. A zombie that nobody has collected has."""
    return {pid for pid in pids if (facts := _facts(pid)) and facts[0] != "Z"}


def await_end(pids: Iterable[int]) -> None:
    """Wait until all have ended; those that do not are killed, and that is a failure."""
    deadline = time.monotonic() + GUARD
    while left := running(pids):
        if time.monotonic() > deadline:
            told = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in left}
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"still running: {told}")
        time.sleep(0.02)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def malloc_arenas(pid: int) -> int:
    """Heaps of glibc's arenas besides the main one: 64 MB of addresses each, of which the first pages are in use."""
    maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    spans = [(*(int(end, 16) for end in parts[0].split("-")), parts[1], len(parts) > 5) for parts in maps]
    return sum(
        start % HEAP == 0 and mode == "rw-p" and not named and (end, rest, later - start) == (after, "---p", HEAP)
        for (start, end, mode, named), (after, later, rest, _) in pairwise(spans)
    )


def _facts(pid: int) -> list[str] | None:
    """State, parent and more, as /proc/PID/stat lists them after the name; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
