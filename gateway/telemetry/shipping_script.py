"""The script by which the shipper adds to the store: rows and sums together with the offset that counts them.

    arguments(part, ...) ──> Arguments: KEYS and ARGV ──> SCRIPT

KEYS: the segment's hash of offsets, the stream, one per hash, 1 + 2 U per series (of U units). ARGV: the part, start,
end, the offsets' TTL, the stream's length, U, the number of hashes, the number of stream entries, and the entries (JSON
lines; many in one, because an entry costs Redis more than a row); then per hash its expiry, its number of fields, and
each field with the amount to add; then per series the most names of a day, its name, the expiry of each unit and of the
names, its number of integers, and the offset of each with the amount to add. Amounts stay strings, because Lua's
numbers are doubles. Only commands that Redis 7.0 and Valkey share.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from gateway.state.store_script import StoreScript
from gateway.telemetry.packed import SIZE
from gateway.telemetry.rollups import RETENTION, HashAddition, SeriesAddition
from gateway.telemetry.series import BOOKS

STREAM = f"{BOOKS}:rows"
STREAM_BYTES = 64 * 2**20  # of rows, approximate: MAXLEN is set to as many entries of the last one's size as fit
OFFSET_TTL = RETENTION + 86_400  # longer than the time in which its rows are summed, or they would be summed again

Part = Literal["rows", "sums"]  # rows with their minutes and hashes; hours and days

SCRIPT = StoreScript("""
local known = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if known ~= tonumber(ARGV[2]) then return known end
local units, hashes, entries = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
for e = 9, 8 + entries do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'rows', ARGV[e])
end
local at = 9 + entries
for k = 3, 2 + hashes do
  local expires, fields = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  for _ = 1, fields do
    redis.call('HINCRBY', KEYS[k], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  redis.call('EXPIREAT', KEYS[k], expires)
end
for k = 3 + hashes, #KEYS, 1 + 2 * units do
  local first, most, name = k + 1, tonumber(ARGV[at]), ARGV[at + 1]
  if redis.call('SISMEMBER', KEYS[k], name) == 0 then
    if redis.call('SCARD', KEYS[k]) < most then
      redis.call('SADD', KEYS[k], name)
      redis.call('EXPIREAT', KEYS[k], ARGV[at + 2 + units])
    else
      first = first + units
    end
  end
  local integers, write = tonumber(ARGV[at + 3 + units]), {}
  local base = at + 4 + units
  for i = 0, integers - 1 do
    write[4 * i + 1] = 'INCRBY'
    write[4 * i + 2] = 'i64'
    write[4 * i + 3] = ARGV[base + 2 * i]
    write[4 * i + 4] = ARGV[base + 2 * i + 1]
  end
  for unit = 0, units - 1 do
    redis.call('BITFIELD', KEYS[first + unit], unpack(write))
    redis.call('EXPIREAT', KEYS[first + unit], ARGV[at + 2 + unit])
  end
  at = base + 2 * integers
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return tonumber(ARGV[3])
""")

_OFFSETS = [f"#{integer}" for integer in range(SIZE // 8)]  # for BITFIELD


class Arguments:
    """KEYS and ARGV of one call, which moves the offset of `part` in the hash `key` from `start` to `end`."""

    def __init__(
        self, key: str, part: Part, start: int, end: int, units: int, entries: Sequence[bytes] = (), hashes: int = 0
    ) -> None:
        longest = max(map(len, entries), default=1)
        self.keys = [key, STREAM]
        self.values: list[bytes | str | int] = [part, start, end, OFFSET_TTL, max(1, STREAM_BYTES // longest)]
        self.values += [units, hashes, len(entries), *entries]

    def __repr__(self) -> str:
        return f"<Arguments {len(self.keys)} keys, {len(self.values)} values>"

    def add_hashes(self, hashes: Mapping[str, HashAddition]) -> None:
        """As many as were announced, before any series."""
        for name, (expires, fields) in hashes.items():
            self.keys.append(name)
            self.values += [expires, len(fields)]
            for field in fields.items():
                self.values += field

    def add_series(self, additions: Iterable[SeriesAddition]) -> None:
        keys, values = self.keys, self.values
        for series in additions:
            keys += series.keys
            values += [series.most, series.name, *series.expires, len(series.amounts)]
            for integer, amount in series.amounts.items():
                values += (_OFFSETS[integer], amount)
