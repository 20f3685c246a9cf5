"""What processes hold, read from /proc: resident memory, descriptors, threads; and how it grows with the requests.

Sample ... Sample ──slope──> bytes of each 100,000 requests, by least squares over those after the warm-up
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PER = 100_000  # requests
LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One process after this many requests of the whole trial."""

    requests: int
    pid: int
    rss: int  # bytes
    descriptors: int
    threads: int


def samples(pids: Iterable[int], requests: int) -> list[Sample]:
    """One of each process that still runs."""
    found = []
    for pid in pids:
        with suppress(OSError, IndexError):
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
            descriptors, threads = len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
            found.append(Sample(requests, pid, resident, descriptors, threads))
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line through these points that has the least squares; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def growth(taken: Sequence[Sample], warm: int) -> dict[int, float]:
    """Bytes of resident memory for each `PER` requests of the trial, by process, after `warm` requests."""
    after = [one for one in taken if one.requests >= warm]
    return {
        pid: slope([(one.requests, one.rss) for one in after if one.pid == pid]) * PER
        for pid in sorted({one.pid for one in after})
    }


def folder_bytes(path: Path) -> int:
    """Bytes of all files below this folder."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


class Peak:
    """The most that was seen."""

    def __init__(self) -> None:
        self.most = 0


@asynccontextmanager
async def watched(read: Callable[[], int]) -> AsyncIterator[Peak]:
    """Reads a figure twenty times a second, until the end."""
    peak = Peak()

    async def look() -> None:
        while True:
            peak.most = max(peak.most, read())
            await asyncio.sleep(LOOK_EVERY)

    task = asyncio.create_task(look())
    try:
        yield peak
    finally:
        task.cancel()
        peak.most = max(peak.most, read())
