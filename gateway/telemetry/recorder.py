"""`gateway serve --record FILE`: live traffic as a trace that `gateway whatif` replays.

    {"t": 12.345, "model": "...", "input_tokens": 2290, "output_tokens": 316, "prefix_hashes": [61204..., ...]}

Times, lengths and prefixes, never text. The gateway knows a prompt as one hash for each message border and each 2 KB of
a long message; a trace has one name for each block of 512 tokens. A block is named after the first border at or behind
its end, so that two requests share a block exactly when both have all of it in pieces that they share:

    borders      a(300)      b(1100)           c(1500)
    blocks      |-- 512: b --|-- 1024: b --|-- 1500: c --|

Names are keyed hashes (BLAKE2b). The key is drawn when a recording begins and never written, so nobody can tell whether
a prompt that he knows is in the file. Input lengths are the gateway's own estimate, because the borders are.

A worker keeps what is to be written and appends it once a second, off the request path. In a `.gz` file each batch is a
gzip member of its own, which readers join.
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
NAME_BYTES = 7  # of a block's name: it stays within 64 bits
EVERY = 1.0  # seconds
MOST_WAITING = 200_000  # requests and their hashes that a disk may be behind, about 150 bytes each

_Prefix = Sequence[tuple[int, int]]
_Note = tuple[float, str, int, int, _Prefix]


def begin(path: Path) -> Recording:
    """A new recording in a file of its own. ConfigError when the file is there already, or cannot be made."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise ConfigError(f"--record {path}: {error.strerror}; name a new file in a folder that is there") from None
    return Recording(path.absolute(), time.time(), secrets.token_bytes(32))


def block_names(prefix: _Prefix, tokens: int, salt: bytes) -> list[int]:
    """One name for each block of a prompt of so many tokens, as far as its prefix is known."""
    names: list[int] = []
    borders = iter(prefix)
    digest, reach = next(borders, (0, 0))
    for number, end in enumerate(range(BLOCK, tokens + BLOCK, BLOCK)):
        while reach < min(end, tokens):
            digest, reach = next(borders, (0, -1))
            if reach < 0:
                return names
        named = digest.to_bytes(8, "big") + number.to_bytes(4, "big")
        names.append(int.from_bytes(hashlib.blake2b(named, digest_size=NAME_BYTES, key=salt).digest(), "big"))
    return names


class Recorder:
    """One worker's part of a recording."""

    def __init__(self, recording: Recording, conditions: Conditions | None = None) -> None:
        self._recording = recording
        self._conditions = conditions or Conditions()
        self._waiting: list[_Note] = []
        self._size = 0  # of what waits, in requests and hashes
        self.lost = 0

    def answered(self, request: Request, row: Row) -> None:
        """A host has answered a request; `row` closes the exchange."""
        if self._size >= MOST_WAITING:
            self.lost += 1
            self._conditions.failed("recording", OSError(errno.EBUSY, "the disk is too slow"))
            return
        self._size += 1 + len(request.prefix)
        arrived = row.at + row.duration - row.client_duration - self._recording.began
        counts = request.prompt_tokens, row.completion_tokens
        self._waiting.append((max(0.0, arrived), request.model, *counts, request.prefix))

    async def run(self) -> None:
        """Writes once a second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Writes what waits."""
        batch, self._waiting, self._size = self._waiting, [], 0
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
        return f"<Recorder {self._recording.path}: {len(self._waiting)} waiting, {self.lost} lost>"


def _append(fd: int, data: bytes) -> None:
    """All of it or nothing, with the other workers kept away."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    before = os.fstat(fd).st_size
    if os.write(fd, data) != len(data):
        os.ftruncate(fd, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
