"""What all workers and replicas have taken of each limit, in the store.

    gw:{limits}:LIMIT:START:SCOPE:NAME      a hash for each period:

    total      taken by all workers, those included that have ended      origin    names this hash: another after a loss
    short      until when workers return what they do not need (s)       WORKER:N  taken:held:at of a worker's meter

Days and months begin at 0. Of a limit per minute the minute before counts, too, by the part of it that is less than a
minute ago. The minute after counts in full: workers whose clocks are ahead take from it already.

One script changes total and the worker's own field together, so that no interleaving of workers grants more than the
bound. The field is absolute: after a lost reply the next call corrects it. A limit that is removed and added again gets
another meter, and a field of its own, so that what the first one took stays in the total. A field that is not written
for a minute is removed; its share of the total stays. If the store loses its data, the total goes on from the highest
one that a worker has seen, and that of the minute before from the one that the worker which calls has seen. A hash
expires a day after its period, for requests that last longer than the period.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from gateway.keys.meter import Grant, ShareRequest
from gateway.state.link import Link
from gateway.state.store_error import StoreError
from gateway.state.store_script import StoreScript

PREFIX = "gw:{limits}:"
KEPT = 86_400  # seconds after the end of a period
MOST = 200  # limits in one call

_SCRIPT = StoreScript("""
local now, replies = tonumber(redis.call('TIME')[1]), {}
local function text(number) return string.format('%.0f', number) end
for i = 1, #KEYS / 3 do
  local key, previous, following = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local at, found, held, workers, past, room = 12 * i - 11, {}, 0, 1, 0, 0
  local me = ARGV[at + 10]
  local taken, own, known = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local want, least, origin = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), ARGV[at + 7]
  local fields = redis.call('HGETALL', key)
  for f = 1, #fields, 2 do found[fields[f]] = fields[f + 1] end
  local total, before = tonumber(found['total'] or 0), found[me]
  if before then total = total + taken - tonumber(string.match(before, '^%d+'))
  elseif origin == '' then total = total + taken
  elseif origin == found['origin'] then total = total + taken - tonumber(ARGV[at + 6])
  else total = math.max(total, known) end
  total = math.max(total, 0)
  for name, value in pairs(found) do
    local reserved, seen = string.match(value, '^%d+:(%d+):(%d+)$')
    if reserved and name ~= me then
      if tonumber(seen) < now - 60 then redis.call('HDEL', key, name)
      else workers = workers + 1
        if tonumber(seen) >= now - 15 then held = held + tonumber(reserved) end
      end
    end
  end
  room = tonumber(ARGV[at]) - total
  if previous ~= key then
    past = tonumber(redis.call('HGET', previous, 'total') or ARGV[at + 8])
    room = room - math.floor(past * tonumber(ARGV[at + 11])) - tonumber(redis.call('HGET', following, 'total') or 0)
  end
  local grant, short = 0, tonumber(found['short'] or 0) >= now
  if least <= room then grant = math.max(0, math.min(want, room)) end
  if grant < least then short = true redis.call('HSET', key, 'short', now + 2) end
  origin = found['origin'] or (me .. ':' .. now)
  total, own = total + grant, own + grant
  local mine = text(taken + grant) .. ':' .. text(own) .. ':' .. now
  redis.call('HSET', key, 'origin', origin, 'total', text(total), me, mine)
  redis.call('EXPIREAT', key, ARGV[at + 9])
  replies[i] = {grant, total, held + own, workers, short and 1 or 0, origin, past}
end
return replies
""")


class Line(NamedTuple):
    """One limit in a call: its hash and those of the minutes before and after, its bound, the end of its period (Unix
    time), what the worker requests of it, the number of its quota in this worker, and how much of its period is left,
    0 to 1. A day or month is alone: its hash stands there three times."""

    keys: tuple[str, str, str]
    bound: int
    end: int
    request: ShareRequest
    number: int
    left: float


class LimitStore:
    """One worker's access. Every call raises OSError without the store."""

    def __init__(self, url: str) -> None:
        self.link = Link(url, "limits", "keys with limits get what `limits.without_store` says, the store fails")
        self._me = os.urandom(8).hex()

    def __repr__(self) -> str:
        return f"<LimitStore {self.link!r}>"

    async def exchange(self, lines: Sequence[Line]) -> list[Grant]:
        """At most MOST lines; one reply for each."""
        arguments: list[bytes | str | int] = []
        for line in lines:
            arguments += (line.bound, *line.request, line.end + KEPT, f"{self._me}:{line.number}", repr(line.left))
        keys = [key for line in lines for key in line.keys]
        reply = await self.link.run(_SCRIPT, keys, arguments)
        if not isinstance(reply, list) or len(reply) != len(lines):
            raise StoreError("an unexpected reply to EVALSHA")
        return [
            Grant(granted, total, held, workers, short == 1, origin, before)
            for granted, total, held, workers, short, origin, before in reply
        ]

    async def totals(self, keys: Sequence[str]) -> list[int]:
        """What has been taken of each of these limits."""
        replies = await self.link.execute_all([("HGET", key, "total") for key in keys])
        return [int(reply) if isinstance(reply, bytes) else 0 for reply in replies]
