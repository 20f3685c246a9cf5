"""Reads from the store what all workers and replicas recorded: spending, uptime, the rows of one exchange.

    gw:day:TENANT:DAY ──> Spent, one for each endpoint and model      gw:slot:SLOT ──> Uptime of each endpoint
    gw:spent ──> a tenant's total                                     gw:rows ──> the rows of an exchange

The data lags by what the shippers have not sent yet: about a second. Every query takes one round trip, or a bounded
number of them. Every query raises OSError when the store cannot be reached.
"""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, cast

from hiredis import ReplyError

from gateway.state.link import REPLY_WITHIN, Link
from gateway.state.resp import StoreError
from gateway.telemetry.ledger_search import LONGEST, SLACK, began, rows_in, whole
from gateway.telemetry.rollups import DAY, SLOT, SPENT_KEY, day_key, slot_key
from gateway.telemetry.shipper import STREAM
from gateway.types import Row

PAGE = 16  # stream entries in one reply: a megabyte
MOST_BYTES = 32 * 2**20  # of the stream, for one exchange
_WINDOWS = (300, 1_800, DAY)  # windows of uptime in seconds
# A tenant's days and its total in one step: an account's figures agree with each other while rows are being shipped.
_SPENDING = """
local all = {}
for i = 1, #KEYS - 1 do all[i] = redis.call('HGETALL', KEYS[i]) end
return {redis.call('HGET', KEYS[#KEYS], ARGV[1]), all}
"""
_HASHES = "local all = {} for i, key in ipairs(KEYS) do all[i] = redis.call('HGETALL', key) end return all"

_Hash = dict[str, int]


class Spent(NamedTuple):
    """A tenant's use of one endpoint and model on one day (unix time // 86,400); `counts` by the names in
    `rollups.SPENT`."""

    day: int
    endpoint: str
    model: str
    counts: _Hash


class Spending(NamedTuple):
    """`ever`: a tenant's total cost, in 1e-12 USD, older days included."""

    ever: int
    by_day: list[Spent]


class Uptime(NamedTuple):
    """Uptime in percent: successful attempts among those that succeeded or failed by the endpoint's fault. None without
    any."""

    last_5m: float | None = None
    last_30m: float | None = None
    last_1d: float | None = None


class Archive:
    """Queries over a connection of its own, one at a time. `within`: the timeout of each in seconds, queueing
    included."""

    def __init__(self, url: str, within: float = REPLY_WITHIN) -> None:
        self._link = Link(url, "archive", "accounts and uptime cannot be read")
        self._lock = asyncio.Lock()
        self._within = within

    def __repr__(self) -> str:
        return f"<Archive {self._link!r}>"

    def close(self) -> None:
        self._link.close()

    async def spending(self, tenant: str, days: Iterable[int] = ()) -> Spending:
        """What a tenant spent in all, and its use on these days, in their order."""
        queried = list(days)
        keys = [day_key(tenant, day) for day in queried]
        reply = await self._execute("EVAL", _SPENDING, len(keys) + 1, *keys, SPENT_KEY, tenant)
        ever, hashes = cast(tuple[bytes | None, list[list[bytes]]], reply)
        by_day = [one for day, parts in zip(queried, hashes, strict=True) for one in _spent(day, _hash(parts))]
        return Spending(int(ever or 0), by_day)

    async def uptimes(self, now: float) -> dict[str, Uptime]:
        """By endpoint, at the unix time `now`. A window starts at the boundary of its first five-minute slot."""
        newest = int(now // SLOT)
        hashes = await self._hashes([slot_key(newest - age) for age in range(DAY // SLOT + 1)])
        windows = [_shares(hashes[: window // SLOT + 1]) for window in _WINDOWS]
        return {endpoint: Uptime(*(shares.get(endpoint) for shares in windows)) for endpoint in windows[-1]}

    async def exchange(self, exchange: str) -> list[Row]:
        """All rows of an exchange, by attempt; empty when its closing row is not stored yet, or has expired."""
        since = began(exchange)
        if since is None:
            return []
        rows: list[Row] = []
        first: str | bytes = str(int(max(0.0, since - SLACK) * 1000))
        last = int((since + 2 * LONGEST) * 1000)
        left = MOST_BYTES
        while left > 0:
            entries = cast(list[list[object]], await self._execute("XRANGE", STREAM, first, last, "COUNT", PAGE))
            for _, fields in cast(list[tuple[bytes, list[bytes]]], entries):
                rows += rows_in(fields[1], exchange)
                left -= len(fields[1])
            if len(entries) < PAGE or any(row.last for row in rows):
                break
            first = b"(" + cast(bytes, entries[-1][0])
        return whole(rows)

    async def _hashes(self, keys: list[str]) -> list[_Hash]:
        reply = await self._execute("EVAL", _HASHES, len(keys), *keys)
        return [_hash(cast(list[bytes], parts)) for parts in cast(list[object], reply)]

    async def _execute(self, *command: bytes | str | int) -> object:
        async with (
            asyncio.timeout(self._within),
            self._lock,
        ):  # bounds queueing behind a store that hangs
            reply = await self._link.execute(*command)
        if isinstance(reply, ReplyError):
            raise StoreError(f"the store rejected {command[0]!s}: {reply}")
        return reply


def _hash(parts: list[bytes]) -> _Hash:
    return {name.decode(): int(amount) for name, amount in zip(parts[::2], parts[1::2], strict=True)}


def _spent(day: int, fields: _Hash) -> list[Spent]:
    """One for each endpoint and model, in order of their names."""
    found: dict[tuple[str, str], _Hash] = {}
    for name, amount in fields.items():
        what, endpoint, model = name.split(" ", 2)
        found.setdefault((endpoint, model), {})[what] = amount
    return [Spent(day, endpoint, model, counts) for (endpoint, model), counts in sorted(found.items())]


def _shares(slots: Iterable[_Hash]) -> dict[str, float]:
    """Uptime in percent, of each endpoint with blamable or successful attempts."""
    counts: _Hash = {}
    for slot in slots:
        for name, amount in slot.items():
            counts[name] = counts.get(name, 0) + amount
    judged = {name.partition(" ")[2]: amount for name, amount in counts.items() if name.startswith("judged ")}
    return {endpoint: 100 * counts.get(f"ok {endpoint}", 0) / amount for endpoint, amount in judged.items()}
