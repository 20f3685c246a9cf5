"""One exchange's rows in the ledger of this machine, whichever worker wrote them.

    1763764498123-4711-9f3a01.jsonl    rows in the order of their ends
    ├── before the exchange began: skipped by bisection
    ├── from there on: read, up to the row that closes it
    └── an hour later: nothing of it can be there

Blocks the thread that calls it, for milliseconds at most times; `MOST_BYTES` bounds what it reads.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gateway.files import opened
from gateway.telemetry.ledger import parse, segments
from gateway.types import Row

LONGEST = 3_600.0  # seconds from an exchange's beginning to its last row
SLACK = 10.0  # seconds by which clocks and ends may be off
CHUNK = 256 * 1024  # bytes
MOST_BYTES = 64 * 2**20
_ID = re.compile(r"gen-([0-9]{1,11})-[0-9a-f]{1,40}")


def began(exchange: str) -> int | None:
    """The unix time in an exchange's id; None for what is no such id."""
    found = _ID.fullmatch(exchange)
    return int(found[1]) if found else None


def find(folder: Path, exchange: str) -> list[Row]:
    """All rows of an exchange, by attempt; empty when it is not there, or has not ended."""
    since = began(exchange)
    if since is None:
        return []
    rows: list[Row] = []
    left = MOST_BYTES
    for path in segments(folder):
        for chunk in _chunks(path, since):
            rows += rows_in(chunk, exchange)
            left -= len(chunk)
            if left <= 0 or _complete(rows):
                return whole(rows)
    return whole(rows)


def rows_in(lines: bytes, exchange: str) -> list[Row]:
    """The rows of one exchange among whole lines."""
    wanted = f'"exchange":"{exchange}"'.encode()
    found: list[Row] = []
    at = lines.find(wanted)
    while at >= 0:
        end = lines.find(b"\n", at)
        end = len(lines) if end < 0 else end
        row = parse(lines[lines.rfind(b"\n", 0, at) + 1 : end])
        if row is not None and row.exchange == exchange:
            found.append(row)
        at = lines.find(wanted, end)
    return found


def whole(rows: list[Row]) -> list[Row]:
    """Rows by attempt, when the one that closes the exchange is among them; else none."""
    return sorted(rows, key=lambda row: row.attempt) if any(row.last for row in rows) else []


def _complete(rows: list[Row]) -> bool:
    """Whether the closing row is there, and every attempt before it: segments of one moment have no order."""
    return any(row.last and 0 < row.attempt <= len(rows) for row in rows)


def _chunks(path: Path, since: float) -> Iterator[bytes]:
    """Whole lines of a segment from about the time `since` on, for as long as an exchange of that time may last."""
    if int(path.name.partition("-")[0]) / 1000 > since + LONGEST:
        return
    try:
        fd = opened(path)
    except OSError:
        return  # pruned since it was listed, or it cannot be read: the store has its rows, too
    try:
        about = os.fstat(fd)
        if about.st_mtime < since - SLACK:
            return
        at = _place(fd, about.st_size, since - SLACK)
        while lines := _whole_lines(fd, at):
            yield lines
            at += len(lines)
            last = parse(lines[lines.rfind(b"\n", 0, -1) + 1 :])
            if last is not None and last.at > since + LONGEST:
                return
    finally:
        os.close(fd)


def _place(fd: int, size: int, since: float) -> int:
    """Where a line begins before which all rows ended before `since`."""
    low, high = 0, size
    while high - low > CHUNK:
        middle = (low + high) // 2
        row = _row_after(fd, middle)
        if row is not None and row.at + row.duration < since:
            low = middle
        else:
            high = middle
    return low + os.pread(fd, CHUNK, low).find(b"\n") + 1 if low else 0


def _row_after(fd: int, offset: int) -> Row | None:
    """The first whole row behind `offset`."""
    _, _, rest = os.pread(fd, CHUNK, offset).partition(b"\n")
    line, end, _ = rest.partition(b"\n")
    return parse(line) if end else None


def _whole_lines(fd: int, offset: int) -> bytes:
    """The next bytes up to the last line end among them; empty when there is none, as behind the newest row."""
    chunk = os.pread(fd, CHUNK, offset)
    return chunk[: chunk.rfind(b"\n") + 1]
