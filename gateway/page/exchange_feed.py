"""The last exchanges of all workers and replicas, kept so that a failure of this hour can be found.

    this worker's RecentExchanges ──once a second──> kept by kind ──> gw:{exchanges}:KIND ──> the feeds of other workers

Kept are the newest 200 of each kind: of all, failed, slow, and those of several attempts (hedged or retried). So 10,000
good exchanges push out no failure, and a restart loses none. The store gets at most 5 of a kind each second from each
worker, with their plans. A record takes 3 KB, at most `MOST_BYTES`: 4 * 200 * 16 KB = 13 MB bound the records of a
feed, and those in the store, which expire after a day.

While the store is down, a feed has its own worker's exchanges only.
"""

import asyncio
import os
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import takewhile
from time import monotonic
from typing import Any, cast

import msgspec

from gateway.page.exchange_view import kinds, shown_exchange
from gateway.page.page_types import ShownExchange
from gateway.proxy.recent_exchanges import KEPT, FinishedExchange, RecentExchanges
from gateway.route.explanation import explanation
from gateway.state.link import Link
from gateway.types import Row

RINGS = {"all": frozenset[str](), "failed": {"failed"}, "slow": {"slow"}, "several": {"hedged", "retried"}}
MOST_SHARED = 5  # exchanges of one ring, each second
MOST_BYTES = 16 * 1024  # of one record
AT_A_TIME = 25  # records of each ring in one reply: 300 KB
KEEP = 86_400  # seconds after the last record
FRESH = 0.9  # seconds for which what was read counts as new
READ_WITHIN = 2.0  # seconds; then the page goes without the other workers' exchanges


class KeptExchange(msgspec.Struct, array_like=True, frozen=True):
    """An exchange as workers share it: its rows, whether it was slow, its plan as compressed JSON, empty without."""

    rows: tuple[Row, ...]
    slow: bool
    plan: bytes = b""

    @property
    def id(self) -> str:
        return self.rows[-1].exchange

    @property
    def explained(self) -> dict[str, Any] | None:
        """Its plan, as `explanation` puts it."""
        return msgspec.json.decode(zlib.decompress(self.plan)) if self.plan else None


class ExchangeFeed:
    """One per worker. `live` has what came last, each with its number, for pages that are open."""

    def __init__(self, recent: RecentExchanges, url: str) -> None:
        self._recent = recent
        self._me = os.urandom(8).hex()
        self._rings: dict[str, OrderedDict[str, KeptExchange]] = {name: OrderedDict() for name in RINGS}
        self._cursors: dict[str, bytes | str] = {_key(ring): "0" for ring in RINGS}
        self._link = Link(url, "page", "exchanges of other workers cannot be read")
        self._lock = asyncio.Lock()
        self._read_at = -READ_WITHIN
        self._last_taken: FinishedExchange | None = None
        self._number = 0
        self.live: deque[tuple[int, ShownExchange]] = deque(maxlen=2 * KEPT)

    def __repr__(self) -> str:
        return f"<ExchangeFeed {', '.join(f'{len(ring)} {name}' for name, ring in self._rings.items())}>"

    def close(self) -> None:
        self._link.close()

    async def tick(self) -> bool:
        """Takes over what is new at this worker, and shares it; False when the store could not be reached."""
        shared = self.take()
        if not shared:
            return True
        async with self._lock:
            return await self._link.attempt(lambda: self._share(shared))

    def take(self) -> list[tuple[str, KeptExchange]]:
        """Keeps what is new at this worker. Returns what is to be shared, each with its ring."""
        notable = self._recent.taken()
        new = list(takewhile(lambda past: past is not self._last_taken, self._recent))[::-1]
        self._last_taken = new[-1] if new else self._last_taken
        ids = {past.closing.exchange for past in notable}
        ordinary = [past for past in new if past.closing.exchange not in ids][-MOST_SHARED:]
        room = dict.fromkeys(RINGS, MOST_SHARED)
        shared = []
        for past in (*reversed(notable), *reversed(ordinary)):
            rings = self._rings_of(shown_exchange(past.rows, past.slow))
            wanted = [ring for ring in rings if room[ring] > 0]
            kept = _kept(past, with_plan=bool(wanted))
            for ring in wanted:
                room[ring] -= 1
                shared.append((ring, kept))
            self._keep(kept, [ring for ring in rings if ring != "all"])
        return shared[::-1]

    async def refresh(self) -> None:
        """Reads what the other workers shared, unless that was done less than `FRESH` ago. Never raises; returns within
        `READ_WITHIN`."""
        if self._lock.locked() and monotonic() - self._read_at < READ_WITHIN:
            return
        try:
            async with asyncio.timeout(READ_WITHIN), self._lock:
                if monotonic() - self._read_at >= FRESH:
                    self._read_at = monotonic()
                    await self._link.attempt(self._read)
        except TimeoutError:
            pass  # a store that hangs: the next call tries again

    def newest(self) -> list[ShownExchange]:
        """All that are kept, each once, the newest first."""
        own = {past.closing.exchange: shown_exchange(past.rows, past.slow) for past in self._recent}
        kept = {name: one for ring in self._rings.values() for name, one in ring.items() if name not in own}
        found = [*own.values(), *(shown_exchange(one.rows, one.slow) for one in kept.values())]
        return sorted(found, key=lambda one: (one.ended, one.id), reverse=True)

    def find(self, exchange: str) -> KeptExchange | None:
        for past in self._recent:
            if past.closing.exchange == exchange:
                return _kept(past, with_plan=True)
        return next((ring[exchange] for ring in self._rings.values() if exchange in ring), None)

    def _rings_of(self, one: ShownExchange) -> list[str]:
        found = kinds(one)
        return [name for name, members in RINGS.items() if name == "all" or members & found]

    def _keep(self, one: KeptExchange, rings: Iterable[str]) -> None:
        for name in rings:
            ring = self._rings[name]
            ring[one.id] = one
            if len(ring) > KEPT:
                ring.popitem(last=False)
        self._number += 1
        self.live.append((self._number, shown_exchange(one.rows, one.slow)))

    async def _share(self, shared: list[tuple[str, KeptExchange]]) -> None:
        for ring, one in shared:
            record = _record(one)
            if record is not None:
                await self._link.execute("XADD", _key(ring), "MAXLEN", KEPT, "*", "from", self._me, "record", record)
        for ring in {ring for ring, _ in shared}:
            await self._link.execute("EXPIRE", _key(ring), KEEP)

    async def _read(self) -> None:
        more = True
        while more:
            keys = list(self._cursors)
            reply = await self._link.execute(
                "XREAD", "COUNT", AT_A_TIME, "STREAMS", *keys, *(self._cursors[key] for key in keys)
            )
            streams = cast(list[tuple[bytes, list[tuple[bytes, list[bytes]]]]], reply or [])
            for key, entries in streams:
                self._cursors[key.decode()] = entries[-1][0]
                for _, fields in entries:
                    self._receive(key.decode().rpartition(":")[2], fields)
            more = any(len(entries) == AT_A_TIME for _, entries in streams)

    def _receive(self, ring: str, fields: list[bytes]) -> None:
        if fields[1].decode() == self._me:
            return
        try:
            one = _decoder.decode(fields[3])
        except ValueError:
            return  # of another version
        if one.rows:
            self._keep(one, [ring])


_decoder = msgspec.msgpack.Decoder(KeptExchange)


def _key(ring: str) -> str:
    return f"gw:{{exchanges}}:{ring}"


def _kept(past: FinishedExchange, with_plan: bool) -> KeptExchange:
    plan = past.plan if with_plan else None
    written = b"" if plan is None else zlib.compress(msgspec.json.encode(explanation(plan, past.closing.model)), 1)
    return KeptExchange(past.rows, past.slow, written)


def _record(one: KeptExchange) -> bytes | None:
    """Without the plan where it would be too large; None where it is still too large."""
    record = msgspec.msgpack.encode(one)
    if len(record) > MOST_BYTES:
        record = msgspec.msgpack.encode(KeptExchange(one.rows, one.slow))
    return record if len(record) <= MOST_BYTES else None
