"""Ships ledger rows to Redis, each exactly once.

    <state>/ledger/*.jsonl ── batch of whole lines ──> one Lua script ──┬─> gw:rows                        stream
                                                                        ├─> gw:history:..., gw:day:...     sums
                                                                        └─> gw:shipped:SEGMENT             offset

The offset up to which a segment was shipped is kept in Redis, and the script that adds the rows advances it: both
happen or neither. A shipper that crashes, times out or races another one reads the offset from Redis. So no row is
counted twice, and a store that comes back older or empty is filled again from the ledger.

While Redis is down, rows wait on disk, in the ledger's bounded space; memory holds one batch at a time.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

import msgspec

from gateway.files import opened
from gateway.state.conditions import Conditions
from gateway.state.link import Link, repeat
from gateway.state.store_error import StoreError
from gateway.state.store_script import StoreScript
from gateway.telemetry import ledger
from gateway.telemetry.packed import SIZE
from gateway.telemetry.rollups import RETENTION, Summed, hash_additions, series_additions

STREAM = "gw:rows"
STREAM_BYTES = 64 * 2**20  # of rows, approximate: MAXLEN is set to as many batches of the last one's size as fit
OFFSET_TTL = RETENTION + 86_400  # longer than the time in which its rows are summed, or they would be summed again
BATCH_BYTES = 256 * 1024  # about 350 rows: the more there are, the fewer increments each takes
LONGEST_WAIT = 30.0  # seconds between attempts while Redis is down

# KEYS: offset, stream, one per hash, seven per series. ARGV: start, end, offset ttl, stream length, the rows (JSON
# lines; one entry for all of them, because an entry costs Redis more than a row), the number of hashes, then per hash
# its expiry, its number of fields, and each field with the amount to add; then per series the most names of a day, its
# name, three expiries, its number of integers, and the offset of each with the amount to add. Amounts stay strings,
# because Lua's numbers are doubles. Only commands that Redis 7.0 and Valkey share.
_SCRIPT = StoreScript("""
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) ~= tonumber(ARGV[1]) then return tonumber(known) end
if not known and tonumber(ARGV[1]) ~= 0 then return 0 end
if ARGV[5] ~= '' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'rows', ARGV[5])
end
local at, series = 7, 3 + tonumber(ARGV[6])
for k = 3, series - 1 do
  local expires, fields = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  for _ = 1, fields do
    redis.call('HINCRBY', KEYS[k], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  redis.call('EXPIREAT', KEYS[k], expires)
end
for k = series, #KEYS, 7 do
  local first, most, name = k + 1, tonumber(ARGV[at]), ARGV[at + 1]
  if redis.call('SISMEMBER', KEYS[k], name) == 0 then
    if redis.call('SCARD', KEYS[k]) < most then
      redis.call('SADD', KEYS[k], name)
      redis.call('EXPIREAT', KEYS[k], ARGV[at + 4])
    else
      first = k + 4
    end
  end
  local integers, write = tonumber(ARGV[at + 5]), {}
  local base = at + 6
  for i = 0, integers - 1 do
    write[4 * i + 1] = 'INCRBY'
    write[4 * i + 2] = 'i64'
    write[4 * i + 3] = ARGV[base + 2 * i]
    write[4 * i + 4] = ARGV[base + 2 * i + 1]
  end
  for unit = 0, 2 do
    redis.call('BITFIELD', KEYS[first + unit], unpack(write))
    redis.call('EXPIREAT', KEYS[first + unit], ARGV[at + 2 + unit])
  end
  at = base + 2 * integers
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return tonumber(ARGV[2])
""")

_OFFSETS = [f"#{integer}" for integer in range(SIZE // 8)]  # for BITFIELD
_decoder = msgspec.json.Decoder(Summed)


class _Unreadable(Exception):
    """The ledger cannot be read. Not an OSError, which stands for the store here."""


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
        self._done: dict[str, int] = {}  # segment -> offset known to be shipped; only existing segments

    def __repr__(self) -> str:
        return f"<Shipper {self._folder}: {self._link!r}, {len(self._done)} segments>"

    async def run(self) -> None:
        """Ships until cancelled. While Redis is down, retries after 2 s, 4 s, ... 30 s."""
        await repeat(self.ship, LONGEST_WAIT)

    async def ship(self) -> bool:
        """Ships all rows; False when Redis could not be reached. Call it once more when draining."""
        before = self._link.up
        up = await self._link.attempt(self._ship_segments)
        if not up:
            self._done.clear()  # the store may come back with older data
        if up != before:
            self._on_store(up)
        return up

    def close(self) -> None:
        self._link.close()

    async def _ship_segments(self) -> None:
        await self._link.writable("books")
        try:
            with _files():
                paths = ledger.segments(self._folder)
            names = {path.name for path in paths}
            self._done = {name: offset for name, offset in self._done.items() if name in names}
            for path in paths:
                await self._ship_segment(path)
        except _Unreadable as error:
            self._conditions.failed("shipper", error)
        else:
            self._conditions.works("shipper")

    async def _ship_segment(self, path: Path) -> None:
        try:
            with _files():
                fd = opened(path)
        except FileNotFoundError:
            return  # deleted since it was listed
        try:
            if os.fstat(fd).st_size > self._done.get(path.name, 0) and _may_ship(path, fd):
                await self._ship_lines(path.name, fd)
        finally:
            os.close(fd)

    async def _ship_lines(self, name: str, fd: int) -> None:
        key = f"gw:shipped:{name}"
        known = await self._link.execute("GET", key)
        offset = 0 if known is None else _number(known)
        while lines := _whole_lines(fd, offset):
            offset = await self._send(key, offset, lines)
            self._done[name] = offset

    async def _send(self, key: str, start: int, lines: bytes) -> int:
        """Passes one batch to the script. Returns the next offset: behind the batch, or the one that Redis has."""
        now = self._clock()
        rows = [(line, row) for line in lines.splitlines() if (row := _read(line)) and row.at >= now - RETENTION]
        arguments: list[bytes | str | int] = [
            start,
            start + len(lines),
            OFFSET_TTL,
            max(1, STREAM_BYTES // len(lines)),
            b"\n".join([line for line, _ in rows]),
        ]
        keys = [key, STREAM]
        summed = [row for _, row in rows]
        await asyncio.sleep(0)  # between steps of a millisecond, so that no request waits for a whole batch
        hashes = hash_additions(summed, now)
        arguments.append(len(hashes))
        for name, (expires, fields) in hashes.items():
            keys.append(name)
            arguments += [expires, len(fields)]
            for field in fields.items():
                arguments += field
        await asyncio.sleep(0)
        for series in series_additions(summed):
            keys += series.keys
            arguments += [series.most, series.name, *series.expires, len(series.amounts)]
            for integer, amount in series.amounts.items():
                arguments += (_OFFSETS[integer], amount)
        return _number(await self._link.run(_SCRIPT, keys, arguments))


@contextmanager
def _files() -> Iterator[None]:
    """File operations inside raise FileNotFoundError or _Unreadable."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _Unreadable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror) from error


def _read(line: bytes) -> Summed | None:
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError:
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


def _whole_lines(fd: int, offset: int) -> bytes:
    """The next bytes of a segment up to the last newline among them; empty without a whole line."""
    for size in (BATCH_BYTES, ledger.SEGMENT_BYTES):  # the second is for a row that is longer than a batch
        with _files():
            chunk = os.pread(fd, size, offset)
        end = chunk.rfind(b"\n") + 1
        if end:
            return chunk[:end]
    return b""


def _number(reply: object) -> int:
    if isinstance(reply, int):
        return reply
    if isinstance(reply, bytes) and reply.isdigit():
        return int(reply)
    raise StoreError("the reply is not a number")
