"""Finds one exchange's rows in the ledger of this machine, of any worker.

    1763764498123-4711-9f3a01.jsonl    rows ordered by the ends of their attempts
    ├── before the exchange began: skipped by bisection
    ├── from there on: read, up to the closing row
    └── an hour later: cannot hold rows of it

Blocks the calling thread, usually for milliseconds; `MOST_BYTES` bounds what is read.
"""

import os
import re
from collections.abc import Container, Iterator
from math import inf
from pathlib import Path

from gateway.files import opened
from gateway.telemetry.ledger import parse, segments
from gateway.types import Row

LONGEST = 3_600.0  # seconds from an exchange's start to its last row
SLACK = 10.0  # seconds by which clocks and ends may be off
CHUNK = 256 * 1024  # bytes
MOST_BYTES = 64 * 2**20
_ID_AT = b'{"id":"'  # the start of each line
_ID = re.compile(r"gen-([0-9]{1,11})-[0-9a-f]{1,40}")


def began(exchange: str) -> int | None:
    """The unix time in an exchange's id; None for an invalid id."""
    found = _ID.fullmatch(exchange)
    return int(found[1]) if found else None


def find(folder: Path, exchange: str) -> list[Row]:
    """All rows of an exchange, by attempt; empty when it is not found, or has not ended."""
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


def rows_since(folder: Path, since: float, exchanges: Container[str]) -> list[Row]:
    """All rows of these exchanges, which began at the Unix time `since` or later."""
    rows: list[Row] = []
    for path in segments(folder):
        for chunk in _chunks(path, since, inf):
            for line in chunk.splitlines():
                if line[len(_ID_AT) : line.find(b'"', len(_ID_AT))].decode().rpartition("-")[0] in exchanges:
                    rows += [row for row in (parse(line),) if row is not None]
    return rows


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
    """Rows by attempt, if the closing row is among them; else none."""
    return sorted(rows, key=lambda row: row.attempt) if any(row.last for row in rows) else []


def _complete(rows: list[Row]) -> bool:
    """Whether the closing row and every attempt before it are there: segments of one moment have no order."""
    return any(row.last and 0 < row.attempt <= len(rows) for row in rows)


def _chunks(path: Path, since: float, most: float = LONGEST) -> Iterator[bytes]:
    """Whole lines of a segment from about the time `since` on, up to `most` seconds after it."""
    if int(path.name.partition("-")[0]) / 1000 > since + most:
        return
    try:
        fd = opened(path)
    except OSError:
        return  # deleted since it was listed, or unreadable: the store has its rows too
    try:
        stat = os.fstat(fd)
        if stat.st_mtime < since - SLACK:
            return
        at = _bisect(fd, stat.st_size, since - SLACK)
        while lines := _whole_lines(fd, at):
            yield lines
            at += len(lines)
            last = parse(lines[lines.rfind(b"\n", 0, -1) + 1 :])
            if last is not None and last.at > since + most:
                return
    finally:
        os.close(fd)


def _bisect(fd: int, size: int, since: float) -> int:
    """The offset of a line; all rows before it ended before `since`."""
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
    """The next bytes up to the last newline among them; empty without one, as behind the newest row."""
    chunk = os.pread(fd, CHUNK, offset)
    return chunk[: chunk.rfind(b"\n") + 1]
