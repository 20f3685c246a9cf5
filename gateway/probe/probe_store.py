"""What probes keep in the store, shared by all workers and replicas. Every command raises OSError without the store.

    gw:{probes}:lock          the worker that probes           180 s after its last request: another one takes over
    gw:{probes}:spent         day, spent (1e-12 USD)           two days after the last probe
    gw:{probes}:endpoint:ID   `EndpointRecord` of an endpoint  31 days after its last probe

An amount is reserved before a request is sent and corrected afterwards. If a worker dies in between, its reservation
stays counted. The day is the store's, in UTC; if its clock is set back, the day stays. If the store loses its data, the
sum continues from the last value seen by the first worker that reserves again, at most ten seconds old.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from gateway.probe.endpoint_record import EndpointRecord, decoded, encoded
from gateway.state.link import Link
from gateway.state.store_error import StoreError
from gateway.state.store_script import StoreScript

LOCK, SPENT = "gw:{probes}:lock", "gw:{probes}:spent"
LOCKED_FOR = 180_000  # ms; longer than any probe takes
KEPT = 31 * 86_400  # seconds
_TAKE = StoreScript("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
_FREE = StoreScript("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
# ARGV: amount, budget, and the day and sum that the caller has seen last: they count where the store lost its data.
_RESERVE = StoreScript("""
local today = math.floor(redis.call('TIME')[1] / 86400)
local known = redis.call('HMGET', KEYS[1], 'day', 'spent')
local day, spent = tonumber(known[1] or ARGV[3]), tonumber(known[2] or ARGV[4])
if today > day then day, spent = today, 0 end
local fits = spent + tonumber(ARGV[1]) <= tonumber(ARGV[2])
if fits then spent = spent + tonumber(ARGV[1]) end
redis.call('HSET', KEYS[1], 'day', day, 'spent', string.format('%.0f', spent))
redis.call('EXPIRE', KEYS[1], 172800)
return {fits and 1 or 0, day, string.format('%.0f', spent)}
""")
_SETTLE = StoreScript("""
if tonumber(redis.call('HGET', KEYS[1], 'day') or 0) ~= tonumber(ARGV[1]) then return '0' end
return string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'spent', ARGV[2]))
""")


class Reservation(NamedTuple):
    """An amount (1e-12 USD) of one day's budget (unix time // 86,400)."""

    day: int
    amount: int


class ProbeStore:
    """One worker's access. Amounts in 1e-12 USD."""

    def __init__(self, url: str, budget: int) -> None:
        self.link = Link(url, "probes", "nothing is probed, the store fails")
        self._budget = budget
        self._me = os.urandom(8).hex()
        self._day = self._spent = 0  # as seen last

    def __repr__(self) -> str:
        return f"<ProbeStore {self.link!r}>"

    async def take_lock(self) -> bool:
        """Takes or renews the lock; False while another worker has it."""
        return await self.link.run(_TAKE, [LOCK], [self._me, LOCKED_FOR]) == 1

    async def free_lock(self) -> None:
        await self.link.run(_FREE, [LOCK], [self._me])

    async def reserve(self, amount: int) -> Reservation | None:
        """None where the day's budget does not have it."""
        reply = await self.link.run(_RESERVE, [SPENT], [amount, self._budget, self._day, self._spent])
        match reply:
            case [int() as fits, int() as day, bytes() as spent]:
                self._day, self._spent = day, int(spent)
                return Reservation(day, amount) if fits else None
        raise StoreError("an unexpected reply to EVALSHA")

    async def settle(self, reserved: Reservation, cost: int) -> None:
        """Corrects what was reserved to the actual cost."""
        difference = cost - reserved.amount
        await self.link.run(_SETTLE, [SPENT], [reserved.day, difference])
        if reserved.day == self._day:
            self._spent = max(0, self._spent + difference)

    async def spent(self, now: float) -> int:
        """Spent and reserved on the day of `now` (unix time)."""
        match await self.link.execute("HMGET", SPENT, "day", "spent"):
            case [bytes() as day, bytes() as spent]:
                self._day, self._spent = int(day), int(spent)
        return self._spent if self._day >= now // 86_400 else 0

    async def read(self, endpoints: Sequence[str]) -> dict[str, EndpointRecord]:
        if not endpoints:
            return {}
        reply = await self.link.execute("MGET", *map(_key, endpoints))
        if not isinstance(reply, list):
            raise StoreError("an unexpected reply to MGET")
        return {name: decoded(data) for name, data in zip(endpoints, reply, strict=True)}

    async def write(self, endpoint: str, record: EndpointRecord) -> None:
        await self.link.execute("SET", _key(endpoint), encoded(record), "EX", KEPT)


def _key(endpoint: str) -> str:
    return f"gw:{{probes}}:endpoint:{endpoint}"
