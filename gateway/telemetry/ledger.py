"""The ledger: an append-only record of every attempt, kept by each worker in files of its own.

    <state>/ledger/
        1763764498123-4711-9f3a01.jsonl     start in unix ms, pid, random: sorts by age, unique across machines
        1763764502980-4712-03bc77.jsonl     one JSON row a line

One `write` per row, before the client gets the end of its answer: a killed worker loses no attempt whose end a client
saw. Rows are not fsynced; a power cut may lose the last seconds and leave a torn line, which readers skip. The worker
holds a lock on its segment, so that other processes can tell a live segment from an abandoned one.

A segment whose file was deleted, moved or restored from a backup is still readable while it is open, so its rows
are restored (`check`).

While the disk is full or broken, rows wait in memory (`MOST_WAITING`) and are written in their order once it works
again. Rows beyond that are lost and counted.

Disk space is bounded: closed segments beyond the newest `keep` times 64 MB are deleted when a segment is opened.
"""

import asyncio
import errno
import fcntl
import os
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.files import is_in_place, opened
from gateway.state.conditions import Conditions
from gateway.types import Row

SEGMENT_BYTES = 64 * 2**20
SEGMENTS_KEPT = 8
CHUNK = 2**20  # bytes
MOST_WAITING = 16 * 2**20  # bytes of rows in memory while the disk takes none: about 20,000
SMALLEST_CHARGE = 2**20  # a closed segment counts as at least 1 MB, which bounds the number of files too

_NAME = re.compile(r"[0-9]+-[0-9]+-[0-9a-z]+\.jsonl")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Row)


class Ledger:
    """The segments of this process. `append` never raises: lost rows are counted (`on_error`), failures recorded in
    `conditions`."""

    def __init__(
        self,
        folder: Path,
        on_error: Callable[[], None] = lambda: None,
        conditions: Conditions | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keep: int = SEGMENTS_KEPT,
    ) -> None:
        self._folder = folder
        self._on_error = on_error
        self._conditions = conditions or Conditions()
        self._segment_bytes = segment_bytes
        self._budget = keep * segment_bytes
        self._fd: int | None = None
        self._name = ""  # of the segment
        self._size = 0
        self._failing = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._on_written: asyncio.Future[None] | None = None
        self.errors = 0  # rows that were lost
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def __repr__(self) -> str:
        state = "closed" if self._fd is None else f"segment of {self._size} bytes"
        return f"<Ledger {self._folder}: {state}, {self.errors} errors>"

    @property
    def waits(self) -> bool:
        """Whether rows wait in memory for a disk that works."""
        return bool(self._waiting)

    async def written(self) -> None:
        """Returns when no row waits."""
        while self._waiting:
            self._on_written = asyncio.get_running_loop().create_future()
            await self._on_written

    def append(self, row: Row) -> None:
        """Writes one row. On a full or broken disk it waits in memory."""
        try:
            line = _encoder.encode(row) + b"\n"
        except ValueError as error:
            self._lose(error)
            return
        if self._waiting:
            self._wait(line)
            return
        try:
            self._write(line)
        except OSError as error:
            self._fail(error)
            self._wait(line)
        else:
            if self._failing and self._is_in_place():
                self._work()

    def check(self) -> None:
        """Restores a lost segment, and detects a failed disk that works again. Call it every second or so."""
        if not self._is_in_place():
            self._fail(OSError(errno.ENOENT, "the segment was deleted; its rows are restored", str(self._folder)))
            with suppress(OSError):  # the rows are still in the open file: the next check tries again
                self._restore()
                self._write_waiting()
                self._work()
        elif self._failing:
            with suppress(OSError):
                self._write_waiting()
                self._write(b"\n")  # a blank line, which readers skip
                self._work()

    def _wait(self, line: bytes) -> None:
        if self._waiting_bytes + len(line) > MOST_WAITING:
            self._lose(OSError(errno.ENOSPC, "too many rows wait in memory"))
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _write_waiting(self) -> None:
        while self._waiting:
            self._write(self._waiting[0])
            self._waiting_bytes -= len(self._waiting.popleft())
        if self._on_written is not None and not self._on_written.done():
            self._on_written.set_result(None)

    def _lose(self, error: Exception) -> None:
        self.errors += 1
        self._on_error()
        self._fail(error)

    def _is_in_place(self) -> bool:
        """Whether readers of the folder find the file that is written, or none is open."""
        return self._fd is None or is_in_place(self._folder / self._name, self._fd)

    def _fail(self, error: Exception) -> None:
        self._failing = True
        self._conditions.failed("ledger", error)

    def _work(self) -> None:
        self._failing = False
        self._conditions.works("ledger")

    def close(self) -> None:
        """Closes the segment. The next `append` opens another."""
        self._close()
        for _ in range(len(self._waiting)):  # the disk has not come back
            self._lose(OSError(errno.ENOSPC, "rows waited for the disk until the end"))
        self._waiting.clear()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, line: bytes) -> None:
        if self._fd is not None and self._size + len(line) > self._segment_bytes:
            self._close()
        if self._fd is None:
            self._name = f"{int(time.time() * 1000):013d}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
            self._fd = self._open(self._folder / self._name)
            self._size = 0
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, self._size)  # half a row would spoil the next one
            raise OSError("short write, the disk is full")
        self._size += written

    def _restore(self) -> None:
        """Copies the open segment to a file of the same name: the shipper finds its offset by that name, so it ships no
        row twice. A file that has the name already is an older copy, and is replaced."""
        assert self._fd is not None
        path = self._folder / self._name
        part = path.with_suffix(".restoring")
        restored = self._open(part)
        try:
            for offset in range(0, self._size, CHUNK):
                chunk = os.pread(self._fd, CHUNK, offset)
                if os.write(restored, chunk) != len(chunk):
                    raise OSError(errno.ENOSPC, "short write, the disk is full")
            part.rename(path)
        except OSError:
            part.unlink(missing_ok=True)
            os.close(restored)
            raise
        os.close(self._fd)
        self._fd = restored

    def _open(self, path: Path) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._prune()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # free: at most `is_live` holds it, for microseconds
        return fd

    def _prune(self) -> None:
        used = 0
        for path in reversed(segments(self._folder)):
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue  # deleted by another worker
            used += max(size, min(SMALLEST_CHARGE, self._segment_bytes))
            if used > self._budget and not is_live(path):
                path.unlink(missing_ok=True)


def segments(folder: Path) -> list[Path]:
    """All segments in a folder, oldest first. Files with other names are ignored."""
    return sorted(path for path in folder.glob("*.jsonl") if _NAME.fullmatch(path.name) and path.is_file())


def is_live(path: Path) -> bool:
    """Whether a process still writes this segment."""
    try:
        fd = opened(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def parse(line: bytes) -> Row | None:
    """One line as a row; None for a torn or blank line."""
    try:
        return _decoder.decode(line)
    except ValueError:
        return None


def read(folder: Path) -> Iterator[Row]:
    """Every row on disk, oldest segment first. Torn lines are skipped."""
    for path in segments(folder):
        try:
            fd = opened(path)
        except FileNotFoundError:
            continue  # deleted since it was listed
        with os.fdopen(fd, "rb") as file:
            for line in file:
                row = parse(line)
                if row is not None:
                    yield row
