"""Ships ledger rows to Redis, each exactly once.

    <state>/ledger/*.jsonl ── batch of whole lines ──> one Lua script ──┬─> gw:{books}:rows                   stream
                                      │                                 ├─> minutes, gw:{books}:day:...       sums
                                      │                                 └─> gw:{books}:shipped:SEGMENT rows   offset
                             added up in memory
                                      └── every 15 rounds ──> the same script ──┬─> hours, days               sums
                                                                                └─> ...:SEGMENT sums          offset

The offsets up to which a segment was shipped are kept in Redis, and the script that adds something advances the offset
of that part: both happen or neither. A shipper that crashes, times out or races another one reads the offsets from
Redis, and reads again the rows that are not in hours and days yet. So no row is counted twice, and a store that comes
back older or empty is filled again from the ledger.

Many rows cost little more than a few. So new rows wait for up to three seconds after a batch, and hours and days for up
to fifteen. They do not wait when a second brought no row.

While Redis is down, rows wait on disk, in the ledger's bounded space; memory holds one batch at a time.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import time
from typing import NamedTuple

import msgspec

from gateway.files import opened
from gateway.state.conditions import Conditions
from gateway.state.link import Link, repeat
from gateway.state.store_error import StoreError
from gateway.telemetry import ledger
from gateway.telemetry.contributions import Summed
from gateway.telemetry.rollups import RETENTION, HashAddition, HourSums, RowSums, SeriesSums, additions
from gateway.telemetry.series import BOOKS
from gateway.telemetry.shipping_script import SCRIPT, Arguments

BATCH_BYTES = 1024 * 1024  # about 1,400 rows: the more there are, the fewer increments each takes
ENTRY_BYTES = 256 * 1024  # of one entry of the stream
STEP_BYTES = 64 * 1024  # are summed between two chances for requests: about a millisecond
LONGEST_WAIT = 30.0  # seconds between attempts while Redis is down
RESTS = 2  # rounds without new rows after a batch, unless there is a whole batch
ROUNDS = 15  # a second each, in which hours and days wait for more rows
MOST_WAITING = 20_000  # rows

_decoder = msgspec.json.Decoder(Summed)
_all_decoder = msgspec.json.Decoder(list[Summed])


class _Unreadable(Exception):
    """The ledger cannot be read. Not an OSError, which stands for the store here."""


class _Outrun(Exception):
    """Another shipper has advanced the segment, or the store lost what it had."""


class _Shipped:
    """How far a segment is shipped: `rows` and `sums` are the store's offsets, `hours` what lies between them."""

    def __init__(self, rows: int, sums: int) -> None:
        self.rows = rows
        self.sums = sums
        self.hours = HourSums()
        self.waiting = 0  # rows in `hours`
        self.rounds = 0  # since they wait
        self.rests = 0  # rounds in which new rows wait, too

    def __repr__(self) -> str:
        return f"<_Shipped up to {self.rows}, {self.waiting} rows wait for their hours>"

    def may_wait(self, size: int) -> bool:
        """Whether a segment of so many bytes has nothing to be shipped in this round."""
        self.rounds += 1
        self.rests -= 1
        if size <= self.rows:
            return not self.waiting
        return self.rests >= 0 and size - self.rows < BATCH_BYTES


class _Batch(NamedTuple):
    """Rows that are not too old, as entries of the stream, and what they add up to."""

    entries: list[bytes]
    minutes: SeriesSums
    hashes: dict[str, HashAddition]


class Shipper:
    """One per worker: ships its own worker's segments, and abandoned ones."""

    def __init__(
        self,
        folder: Path,
        url: str,
        on_store: Callable[[bool], None],
        conditions: Conditions | None = None,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        self._folder = folder
        self._link = Link(url, "shipper", "the store cannot be reached, ledger rows wait on disk")
        self._on_store = on_store
        self._conditions = conditions or Conditions()
        self._clock = clock
        self._segments: dict[str, _Shipped] = {}  # only existing segments

    def __repr__(self) -> str:
        return f"<Shipper {self._folder}: {self._link!r}, {len(self._segments)} segments>"

    async def run(self) -> None:
        """Ships until cancelled. While Redis is down, retries after 2 s, 4 s, ... 30 s."""
        await repeat(partial(self.ship, whole=False), LONGEST_WAIT)

    async def ship(self, *, whole: bool = True) -> bool:
        """Ships all rows; False when Redis could not be reached. `whole`: hours and days do not wait for more. Call it
        once more when draining."""
        before = self._link.up
        up = await self._link.attempt(partial(self._ship_segments, whole))
        if not up:
            self._segments.clear()  # the store may come back with older data
        if up != before:
            self._on_store(up)
        return up

    def close(self) -> None:
        self._link.close()

    async def _ship_segments(self, whole: bool) -> None:
        try:
            with _files():
                paths = ledger.segments(self._folder)
            names = {path.name for path in paths}
            self._segments = {name: shipped for name, shipped in self._segments.items() if name in names}
            written = [await self._ship_segment(path, whole) for path in paths]
        except _Unreadable as error:
            self._conditions.failed("shipper", error)
            written = []
        else:
            self._conditions.works("shipper")
        if not any(written):
            await self._link.writable("books")

    async def _ship_segment(self, path: Path, whole: bool) -> bool:
        """Whether something was written to the store."""
        try:
            with _files():
                fd = opened(path)
        except FileNotFoundError:
            return False  # deleted since it was listed
        try:
            shipped, size = self._segments.get(path.name), os.fstat(fd).st_size
            if (shipped is not None and not whole and shipped.may_wait(size)) or not _may_ship(path, fd):
                return False
            while True:
                try:
                    return await self._ship_rest(path.name, fd, whole)
                except _Outrun:
                    self._segments.pop(path.name, None)
        finally:
            os.close(fd)

    async def _ship_rest(self, name: str, fd: int, whole: bool) -> bool:
        key = f"{BOOKS}:shipped:{name}"
        shipped = self._segments.get(name)
        if shipped is None:
            shipped = await self._read_offsets(key, fd)
            self._segments[name] = shipped
        start, sums = shipped.rows, shipped.sums
        while lines := _whole_lines(fd, shipped.rows, BATCH_BYTES):
            await self._send_rows(key, shipped, lines)
            if shipped.waiting > MOST_WAITING:
                await self._send_hours(key, shipped)
        shipped.rests = RESTS
        if whole or start == shipped.rows or shipped.rounds >= ROUNDS:
            await self._send_hours(key, shipped)
        return (start, sums) != (shipped.rows, shipped.sums)

    async def _read_offsets(self, key: str, fd: int) -> _Shipped:
        """From the store; the rows whose hours are not there yet are read again."""
        reply = await self._link.execute("HMGET", key, "rows", "sums")
        if not isinstance(reply, list) or len(reply) != 2:
            raise StoreError("the reply is not two numbers")
        rows, sums = (0 if one is None else _number(one) for one in reply)
        shipped = _Shipped(rows, sums)
        while lines := _whole_lines(fd, sums, min(BATCH_BYTES, rows - sums)) if sums < rows else b"":
            sums += len(lines)
            await self._sum(lines, shipped)
        return shipped

    async def _sum(self, lines: bytes, shipped: _Shipped) -> _Batch:
        """Adds rows to the hours that wait."""
        oldest, entries, sums = self._clock() - RETENTION, [b""], RowSums()
        for step in _pieces(lines, STEP_BYTES):
            kept, rows = _readable(step, oldest)
            sums.add(rows)
            shipped.waiting += len(rows)
            if len(entries[-1]) + len(kept) > ENTRY_BYTES and entries[-1]:
                entries.append(b"")
            entries[-1] += kept
            await asyncio.sleep(0)  # no request waits for a whole batch
        minutes = sums.minutes()
        shipped.hours.add(minutes)
        return _Batch([entry for entry in entries if entry], minutes, sums.hashes(self._clock()))

    async def _send_rows(self, key: str, shipped: _Shipped, lines: bytes) -> None:
        batch, end = await self._sum(lines, shipped), shipped.rows + len(lines)
        arguments = Arguments(key, "rows", shipped.rows, end, 1, batch.entries, len(batch.hashes))
        arguments.add_hashes(batch.hashes)
        await asyncio.sleep(0)
        arguments.add_series(additions(batch.minutes, "minute"))
        await self._run_script(arguments, end)
        shipped.rows = end

    async def _send_hours(self, key: str, shipped: _Shipped) -> None:
        """Adds the hours and days that wait."""
        if shipped.sums < shipped.rows:
            arguments = Arguments(key, "sums", shipped.sums, shipped.rows, 2)
            arguments.add_series(additions(shipped.hours.sums, "hour", "day"))
            await self._run_script(arguments, shipped.rows)
        shipped.sums, shipped.hours, shipped.waiting, shipped.rounds = shipped.rows, HourSums(), 0, 0

    async def _run_script(self, arguments: Arguments, end: int) -> None:
        """Raises _Outrun when the store's offset is another than expected."""
        reply = await self._link.run(SCRIPT, arguments.keys, arguments.values)
        if _number(reply) != end:
            raise _Outrun


@contextmanager
def _files() -> Iterator[None]:
    """File operations inside raise FileNotFoundError or _Unreadable."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _Unreadable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror) from error


def _readable(lines: bytes, oldest: float) -> tuple[bytes, list[Summed]]:
    """The lines that are rows and not older than that, and what they hold. Others are torn by a crash, or blank."""
    with suppress(ValueError):
        rows = _all_decoder.decode(b"[%b]" % lines.rstrip(b"\n").replace(b"\n", b","))
        if all(row.at >= oldest for row in rows):
            return lines, rows
    read = [(line, row) for line in lines.splitlines(keepends=True) if (row := _read(line)) and row.at >= oldest]
    return b"".join([line for line, _ in read]), [row for _, row in read]


def _read(line: bytes) -> Summed | None:
    try:
        return _decoder.decode(line)
    except ValueError:
        return None  # torn by a crash, or blank


def _may_ship(path: Path, fd: int) -> bool:
    """Own segments always; another one only when its writer has ended and no other shipper holds it."""
    if path.name.split("-")[1] == str(os.getpid()):
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whole_lines(fd: int, offset: int, size: int) -> bytes:
    """About the next `size` bytes of a segment, up to the last newline among them; empty without a whole line."""
    for most in (size, ledger.SEGMENT_BYTES):  # the second is for a row that is longer than that
        with _files():
            chunk = os.pread(fd, most, offset)
        end = chunk.rfind(b"\n") + 1
        if end:
            return chunk[:end]
    return b""


def _pieces(lines: bytes, size: int) -> Iterator[bytes]:
    """Whole lines, about that many bytes at a time."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + size, len(lines) - 1)) + 1
        yield lines[start:end]
        start = end


def _number(reply: object) -> int:
    if isinstance(reply, int):
        return reply
    if isinstance(reply, bytes) and reply.isdigit():
        return int(reply)
    raise StoreError("the reply is not a number")
