"""Reads from the store what all workers and replicas recorded: spending, uptime, the rows of one exchange.

    gw:{books}:day:TENANT:DAY ──> Spent, one for each endpoint and model      gw:{books}:history:... ──> Uptime of each
    gw:{books}:spent ──> a tenant's total                             endpoint, and whole series
    gw:{books}:rows ──> the rows of an exchange

The data lags by what the shippers have not sent yet: up to three seconds, hours and days up to fifteen. Every query
takes one round trip, or a bounded number of them, and raises OSError when the store cannot be reached.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import NamedTuple, cast

from gateway.state.link import REPLY_WITHIN, Link
from gateway.state.store_script import StoreScript
from gateway.telemetry.figure_definitions import share
from gateway.telemetry.ledger_search import LONGEST, SLACK, began, rows_in, whole
from gateway.telemetry.packed import HEAD_SIZE, Packed
from gateway.telemetry.rollups import SPENT_KEY, day_key
from gateway.telemetry.series import KINDS, SECONDS, Kind, Series, Unit, names_key
from gateway.telemetry.shipping_script import STREAM
from gateway.types import Row

PAGE = 4  # stream entries in one reply: a megabyte
MOST_BYTES = 32 * 2**20  # of the stream, for one exchange
MOST_KEYS = 512  # in one reply: less than a megabyte
_WINDOWS: tuple[tuple[Unit, int], ...] = (("minute", 5), ("minute", 30), ("hour", 24))  # of uptime
# A tenant's days and its total in one step: an account's figures agree with each other while rows are being shipped.
_SPENDING = StoreScript("""
local all = {}
for i = 1, #KEYS - 1 do all[i] = redis.call('HGETALL', KEYS[i]) end
return {redis.call('HGET', KEYS[#KEYS], ARGV[1]), all}
""")
_HEADS = StoreScript(
    "local all = {} for i, key in ipairs(KEYS) do all[i] = redis.call('GETRANGE', key, 0, ARGV[1] - 1) end return all"
)
_SETS = StoreScript("local all = {} for i, key in ipairs(KEYS) do all[i] = redis.call('SMEMBERS', key) end return all")

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
    """Uptime in percent, as `docs/metrics.md#uptime` defines it; None without an attempt that it counts."""

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
        reply = await self._run(_SPENDING, [*keys, SPENT_KEY], [tenant])
        ever, hashes = cast(tuple[bytes | None, list[list[bytes]]], reply)
        by_day = [one for day, parts in zip(queried, hashes, strict=True) for one in _spent(day, _hash(parts))]
        return Spending(int(ever or 0), by_day)

    async def uptimes(self, endpoints: Sequence[Series], now: float) -> list[Uptime]:
        """Of each endpoint's series, at the unix time `now`. A window starts at the boundary of its first minute or
        hour."""
        keys = [series.key(unit, bucket) for series in endpoints for unit, bucket in _window_buckets(now)]
        strings: list[bytes | None] = []
        for part in _chunks(keys):
            reply = await self._run(_HEADS, part, [HEAD_SIZE])
            strings += cast(list[bytes], reply)
        size = len(_window_buckets(now))
        return [_uptime(strings[start : start + size]) for start in range(0, len(strings), size)]

    async def names(self, model: str, days: Sequence[int]) -> dict[Kind, list[str]]:
        """The names that the history has on these days (unix time // 86,400), those of most days first."""
        keys = [names_key(model, kind, day) for kind in KINDS for day in days]
        sets = cast(list[list[bytes]], await self._run(_SETS, keys, []))
        found: dict[Kind, list[str]] = {}
        for place, kind in enumerate(KINDS):
            counts = Counter(chain.from_iterable(sets[place * len(days) : (place + 1) * len(days)]))
            found[kind] = [name.decode() for name in sorted(counts, key=lambda one: (-counts[one], one))]
        return found

    async def strings(self, keys: Sequence[str]) -> list[bytes]:
        """The packed strings of these keys, in their order; empty where the store has none."""
        found: list[bytes] = []
        for part in _chunks(keys):
            found += [one or b"" for one in cast(list[bytes | None], await self._execute("MGET", *part))]
        return found

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

    async def _execute(self, *command: bytes | str | int) -> object:
        async with self._turn():
            return await self._link.execute(*command)

    async def _run(self, script: StoreScript, keys: Sequence[str], arguments: Sequence[str | int]) -> object:
        async with self._turn():
            return await self._link.run(script, keys, arguments)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Bounds queueing behind a store that hangs, too."""
        async with asyncio.timeout(self._within), self._lock:
            yield


def _hash(parts: list[bytes]) -> _Hash:
    return {name.decode(): int(amount) for name, amount in zip(parts[::2], parts[1::2], strict=True)}


def _spent(day: int, fields: _Hash) -> list[Spent]:
    """One for each endpoint and model, in order of their names."""
    found: dict[tuple[str, str], _Hash] = {}
    for name, amount in fields.items():
        what, endpoint, model = name.split(" ", 2)
        found.setdefault((endpoint, model), {})[what] = amount
    return [Spent(day, endpoint, model, counts) for (endpoint, model), counts in sorted(found.items())]


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), MOST_KEYS):
        yield keys[start : start + MOST_KEYS]


def _window_buckets(now: float) -> list[tuple[Unit, int]]:
    """The buckets of all windows, one window after another, each from its start."""
    newest = {unit: int(now // seconds) for unit, seconds in SECONDS.items()}
    return [(unit, bucket) for unit, many in _WINDOWS for bucket in range(newest[unit] - many, newest[unit] + 1)]


def _uptime(strings: Sequence[bytes | None]) -> Uptime:
    """From the strings of `_window_buckets`."""
    found, start = [], 0
    for _, many in _WINDOWS:
        total = Packed.total(Packed.of(data) for data in strings[start : start + many + 1] if data)
        good = share(total["ok"], total["judged"])
        found.append(None if good is None else 100 * good)
        start += many + 1
    return Uptime(*found)
