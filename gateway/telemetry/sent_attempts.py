"""The attempts that a worker has under way, in a file: what a killed worker had sent is booked by another one.

    <state>/ledger/1763764498123-4711-9f3a01.sent        one file for each worker, deleted when it stops
        | last sign of life, unix seconds | slot 1: a SentAttempt | slot 2: empty | ...       1 KB each

    begin ──> one write into a free slot ──> the request goes out ──> ended: the slot is free

A slot is not cleared when its attempt ends, but reused or cleared within a second (`tick`): a reader of the file looks
up in the ledger which attempts have a row. The file is not mapped into memory, because a full disk would end the
worker by SIGBUS. The worker holds a lock on it, so that others can tell that it lives. A file that is deleted or
moved meanwhile is created again by the next `tick`.
"""

import errno
import fcntl
import os
import secrets
import time
from contextlib import suppress
from os import pwrite
from pathlib import Path
from struct import Struct
from typing import Literal, NamedTuple

from gateway.files import is_in_place, opened
from gateway.state.conditions import Conditions
from gateway.telemetry.ledger import Ledger

SLOT = 1024  # bytes
ALLOCATED = 64  # slots that a disk which is full later has room for
MOST = 65_536  # slots
_LONGEST_APP = 200  # characters

# length of the slot's content, sent at, hit, output, ttft, seconds, cost, prompt, attempt, the flags; then texts
_HEAD = Struct("HdddddqIH???")  # in native order, which is packed faster
_HEAD_SIZE = _HEAD.size
_SIGN = Struct("<d")  # of life
_EMPTY = b"\0\0"
_TEXTS = 9
_APP = 2  # its place among them
_BETWEEN = "\0"

Texts = tuple[str, str, str, str, str, str, str, str, str]  # of a SentAttempt, in its order
Numbers = tuple[float, float, float, float, float, int, int, int, bool, bool, bool]


class SentAttempt(NamedTuple):
    """An attempt when it is sent: what its row needs, and what an estimate of its bill needs."""

    exchange: str
    tenant: str
    app: str
    model: str
    policy: str
    endpoint: str
    key: str
    group: str
    user: str
    at: float  # Unix time
    hit: float  # expected cached share of the prompt
    output: float  # usual output of such requests in tokens
    ttft: float  # expected seconds to the first token
    seconds: float  # to the last token
    usd: int  # expected cost in 1e-12 USD
    prompt: int  # tokens
    attempt: int
    stream: bool  # whether the client streams
    streams: bool  # whether the host does
    hedge: bool

    @property
    def id(self) -> str:
        return f"{self.exchange}-{self.attempt}"


def _shortened(texts: Texts) -> bytes:
    """Texts that do not fit into a slot, joined, with less of the app. Raises ValueError if that is not enough."""
    less = list(texts)
    less[_APP] = less[_APP][:_LONGEST_APP]
    joined = _BETWEEN.join(less).encode()
    if _HEAD_SIZE + len(joined) > SLOT:
        raise ValueError("an attempt has too long names to be recorded")
    return joined


def unpacked(slot: bytes) -> SentAttempt | None:
    """The attempt of a slot; None where it is empty, was never used, or is torn."""
    if len(slot) < _HEAD_SIZE:
        return None
    size, *numbers = _HEAD.unpack_from(slot)
    texts = slot[_HEAD_SIZE:size].decode(errors="replace").split(_BETWEEN)
    if not _HEAD_SIZE < size <= len(slot) or len(texts) != _TEXTS:
        return None
    return SentAttempt._make([*texts, *numbers])


class SentAttempts:
    """The file of this process. Nothing raises: an attempt that cannot be recorded is sent all the same, and recorded
    as a failure of the part `attempts`."""

    def __init__(self, folder: Path, ledger: Ledger, conditions: Conditions) -> None:
        self._folder = folder
        self._ledger = ledger
        self._conditions = conditions
        self._fd: int | None = None
        self._path: Path | None = None
        self._free: list[int] = []  # cleared
        self._ended: list[int] = []  # free too, but not cleared: used first, the last one before the others
        self._unwritten: list[int] = []  # of attempts that ended, whose rows wait for the disk
        self._slots = 0
        self._unusable = False  # no file could be made: the next tick tries again

    def __repr__(self) -> str:
        idle = len(self._free) + len(self._ended) + len(self._unwritten)
        return f"<SentAttempts {self._slots - idle} under way>"

    def begin(self, texts: Texts, numbers: Numbers) -> int:
        """Records an attempt that is about to be sent. Returns its slot; 0 where it could not be recorded. A struct and
        joined texts: a SentAttempt or JSON would take longer than the write."""
        try:
            joined = _BETWEEN.join(texts).encode()
            size = _HEAD_SIZE + len(joined)
            if size > SLOT:
                joined = _shortened(texts)
                size = _HEAD_SIZE + len(joined)
            slots = self._ended or self._free or self._more()
            if pwrite(self._fd, _HEAD.pack(size, *numbers) + joined, slots[-1] * SLOT) != size:  # type: ignore[arg-type]
                raise OSError(errno.ENOSPC, "short write, the disk is full")
            return slots.pop()
        except (OSError, ValueError) as error:
            self._conditions.failed("attempts", error)
            return 0

    def ended(self, slot: int) -> None:
        """The attempt has its row."""
        if not slot:
            return
        if self._ledger.waits:
            self._unwritten.append(slot)
            return
        self._ended.append(slot)

    def tick(self, now: float) -> None:
        """Writes a sign of life at this Unix time, and clears slots that are not in use. Call it every second or so."""
        if self._unwritten and not self._ledger.waits:
            self._ended += self._unwritten
            self._unwritten.clear()
        try:
            if self._unusable:
                self._fd, self._unusable = self._open(), False
            if self._fd is None:
                return
            assert self._path is not None
            if not is_in_place(self._path, self._fd):
                self._restore(self._fd)
            pwrite(self._fd, _SIGN.pack(now), 0)
            while self._ended:
                pwrite(self._fd, _EMPTY, self._ended[-1] * SLOT)
                self._free.append(self._ended.pop())
            self._conditions.works("attempts")
        except OSError as error:
            self._conditions.failed("attempts", error)

    def close(self) -> None:
        """Deletes the file, unless the rows of attempts wait for the disk."""
        if self._fd is None:
            return
        if self._path is not None and not self._unwritten:
            with suppress(OSError):
                self._path.unlink()
        os.close(self._fd)
        self._fd = None

    def _restore(self, lost: int) -> None:
        """Copies the file, which was deleted or moved away but is still open, to a new one."""
        self._fd = self._open(os.pread(lost, (1 + self._slots) * SLOT, 0))
        os.close(lost)

    def _more(self) -> list[int]:
        """One more free slot, in a file that is open."""
        if self._unusable:
            raise OSError(errno.EIO, "no file could be made")
        if self._fd is None:
            self._unusable = True
            self._fd, self._unusable = self._open(), False
        if self._slots >= MOST:
            raise OSError(errno.ENOSPC, "too many attempts are under way")
        self._slots += 1
        self._free.append(self._slots)
        return self._free

    def _open(self, content: bytes = b"") -> int:
        name = f"{int(time.time() * 1000):013d}-{os.getpid()}-{secrets.token_hex(3)}.sent"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._folder / f"{name}.new"  # until it is locked, another worker would take it for left behind
        path = self._folder / name
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.posix_fallocate(fd, 0, (1 + ALLOCATED) * SLOT)
            if pwrite(fd, content, 0) != len(content):
                raise OSError(errno.ENOSPC, "short write, the disk is full")
            part.rename(path)
        except OSError:
            os.close(fd)
            part.unlink(missing_ok=True)
            raise
        self._path = path
        return fd


class LeftBehind:
    """The file of a worker that died, locked for this process until `close`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        slots = (data[start : start + SLOT] for start in range(SLOT, len(data), SLOT))
        found = [one for slot in slots if (one := unpacked(slot)) is not None]
        sign = _SIGN.unpack_from(data)[0] if len(data) >= _SIGN.size else 0.0
        self.attempts = {one.id: one for one in found}
        self.last_sign = max([sign, *(one.at for one in found)])  # of life, in Unix seconds

    def __repr__(self) -> str:
        return f"<LeftBehind {self._path.name}: {len(self.attempts)} attempts>"

    def close(self, what: Literal["keep", "delete"]) -> None:
        if what == "delete":
            with suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)


def left_behind(folder: Path) -> list[LeftBehind]:
    """The files of workers that died. Those of living ones, and those that another process reads, are left alone."""
    return [found for path in sorted(folder.glob("*.sent")) if (found := _left_behind(path)) is not None]


def _left_behind(path: Path) -> LeftBehind | None:
    try:
        descriptor = opened(path, os.O_RDWR)
    except OSError:
        return None  # deleted since it was listed
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(path.stat(), os.fstat(descriptor)):
            raise FileNotFoundError(path)  # another process has booked it meanwhile
        return LeftBehind(path, descriptor)
    except OSError:
        os.close(descriptor)
        return None
