"""`gateway serve --record FILE`: records live traffic as a trace that `gateway whatif` replays.

    {"t": 12.345, "model": "...", "input_tokens": 2290, "output_tokens": 316, "prefix_hashes": [61204..., ...]}

It records times, lengths and prefixes, never text. The gateway has one hash for each message boundary of a prompt and
each 2 KB of a long message; a trace has one name for each block of 512 tokens. A block is named after the first
boundary at or behind its end, so two requests share a block exactly when both contain all of it in shared messages or
parts:

    boundaries   a(300)      b(1100)           c(1500)
    blocks      |-- 512: b --|-- 1024: b --|-- 1500: c --|

Names are keyed hashes (BLAKE2b). The key is created when a recording begins and never written, so a known prompt cannot
be found in the file. Input lengths are the gateway's own estimates, as the boundaries are.

A worker queues lines and appends them once a second, off the request path. In a `.gz` file each batch is a gzip member
of its own; readers concatenate them.
"""

import asyncio
import errno
import fcntl
import gzip
import hashlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from gateway.errors import ConfigError
from gateway.files import opened
from gateway.state.conditions import Conditions
from gateway.types import Recording, Request, Row

BLOCK = 512  # tokens
NAME_BYTES = 7  # so that a block's name fits into 64 bits
EVERY = 1.0  # seconds
MOST_QUEUED = 200_000  # queued requests and hashes while the disk is slow, about 150 bytes each

_Prefix = Sequence[tuple[int, int]]
_Note = tuple[float, str, int, int, _Prefix]


def begin(path: Path) -> Recording:
    """Starts a recording in a new file. ConfigError when the file exists already, or cannot be created."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise ConfigError(f"--record {path}: {error.strerror}; name a new file in an existing folder") from None
    return Recording(path.absolute(), time.time(), secrets.token_bytes(32))


def block_names(prefix: _Prefix, tokens: int, salt: bytes) -> list[int]:
    """One name for each block of a prompt of `tokens` tokens, as far as its prefix is known."""
    names: list[int] = []
    boundaries = iter(prefix)
    digest, reach = next(boundaries, (0, 0))
    for number, end in enumerate(range(BLOCK, tokens + BLOCK, BLOCK)):
        while reach < min(end, tokens):
            digest, reach = next(boundaries, (0, -1))
            if reach < 0:
                return names
        named = digest.to_bytes(8, "big") + number.to_bytes(4, "big")
        names.append(int.from_bytes(hashlib.blake2b(named, digest_size=NAME_BYTES, key=salt).digest(), "big"))
    return names


class TraceRecorder:
    """One worker's part of a recording."""

    def __init__(self, recording: Recording, conditions: Conditions | None = None) -> None:
        self._recording = recording
        self._conditions = conditions or Conditions()
        self._queue: list[_Note] = []
        self._size = 0  # of the queue, in requests and hashes
        self.lost = 0

    def answered(self, request: Request, row: Row) -> None:
        """Records a request that a host has answered; `row` closes the exchange."""
        if self._size >= MOST_QUEUED:
            self.lost += 1
            self._conditions.failed("recording", OSError(errno.EBUSY, "the disk is too slow"))
            return
        self._size += 1 + len(request.prefix)
        arrived = row.at + row.duration - row.client_duration - self._recording.began
        counts = request.prompt_tokens, row.completion_tokens
        self._queue.append((max(0.0, arrived), request.model, *counts, request.prefix))

    async def run(self) -> None:
        """Writes once a second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Writes the queue."""
        batch, self._queue, self._size = self._queue, [], 0
        if batch:
            self.lost += len(batch)
            with self._conditions.noted("recording"):
                await asyncio.to_thread(self._write, batch)
                self.lost -= len(batch)

    def _write(self, batch: list[_Note]) -> None:
        data = b"".join(self._line(*note) for note in batch)
        if self._recording.path.suffix == ".gz":
            data = gzip.compress(data)
        fd = opened(self._recording.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            _append(fd, data)
        finally:
            os.close(fd)

    def _line(self, arrived: float, model: str, prompt: int, completion: int, prefix: _Prefix) -> bytes:
        row = {
            "t": round(arrived, 3),
            "model": model,
            "input_tokens": prompt,
            "output_tokens": completion,
            "prefix_hashes": block_names(prefix, prompt, self._recording.salt),
        }
        return orjson.dumps(row) + b"\n"

    def __repr__(self) -> str:
        return f"<Recorder {self._recording.path}: {len(self._queue)} waiting, {self.lost} lost>"


def _append(fd: int, data: bytes) -> None:
    """Appends all of `data` or nothing, under a lock against the other workers."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    before = os.fstat(fd).st_size
    if os.write(fd, data) != len(data):
        os.ftruncate(fd, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
