"""Reads buckets of the history. Those that are over are kept in memory for a while: opening a page costs few reads.

read(buckets) ──> in memory, not older than `KEPT_FOR`? ──> Packed
                    └─ no ──> the store, 512 keys a round trip
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

from gateway.telemetry.archive import MOST_KEYS, Archive
from gateway.telemetry.series import SECONDS, Kind, Series, Unit

KEPT_FOR = 300.0  # seconds: rows that were shipped late, after an outage of the store, appear after that
LATE = 60.0  # seconds after its end from which a bucket counts as over
MOST_KEPT = 8_192  # buckets of 1.5 KB


class Bucket(NamedTuple):
    """One bucket of a series."""

    series: Series
    unit: Unit
    number: int

    @property
    def over_at(self) -> float:
        """When it is over, in Unix seconds."""
        return (self.number + 1) * SECONDS[self.unit] + LATE


class HistoryReader:
    """Raises OSError when the store cannot be reached."""

    def __init__(self, archive: Archive, clock: Callable[[], float] = time.time) -> None:
        self._archive = archive
        self._clock = clock
        self._kept: dict[Bucket, tuple[float, bytes]] = {}  # when it was read, and its string; oldest first

    def __repr__(self) -> str:
        return f"<HistoryReader: {len(self._kept)} buckets kept>"

    async def names(self, model: str, days: Sequence[int]) -> dict[Kind, list[str]]:
        """The names that a model's history has on these days (unix time // 86,400), those of most days first."""
        return await self._archive.names(model, days)

    async def read(self, buckets: Iterable[Bucket]) -> dict[Bucket, bytes]:
        """The packed strings of those buckets that have data."""
        found: dict[Bucket, bytes] = {}
        wanted = list(dict.fromkeys(buckets))
        for start in range(0, len(wanted), MOST_KEYS):
            found |= await self._read_part(wanted[start : start + MOST_KEYS])
            await asyncio.sleep(0)  # a long history holds up no request
        return {one: data for one, data in found.items() if data}

    async def _read_part(self, wanted: Sequence[Bucket]) -> dict[Bucket, bytes]:
        now = self._clock()
        kept = {one: data for one in wanted if (data := self._kept_string(one, now)) is not None}
        missing = [one for one in wanted if one not in kept]
        strings = await self._archive.strings([series.key(unit, number) for series, unit, number in missing])
        fresh = dict(zip(missing, strings, strict=True))
        self._keep(fresh, now)
        found = kept | fresh
        return {one: found[one] for one in wanted}

    def _kept_string(self, bucket: Bucket, now: float) -> bytes | None:
        read_at, data = self._kept.get(bucket, (-inf, b""))
        return data if now < read_at + KEPT_FOR else None

    def _keep(self, fresh: dict[Bucket, bytes], now: float) -> None:
        for bucket, data in fresh.items():
            self._kept.pop(bucket, None)
            if bucket.over_at <= now:
                self._kept[bucket] = now, data
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
