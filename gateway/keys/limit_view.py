"""What has been used of the limits of a key, over all workers: for `/api/v1/key`, the admin API and the page."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.config import Bounds, LimitName, Scope
from gateway.keys.limit_store import LimitStore
from gateway.keys.limiter import Limiter
from gateway.keys.period import MINUTE, NANO, Period
from gateway.keys.quota import Quota


class LimitUse(NamedTuple):
    """One limit in its current period. Requests, tokens, or USD; `resets_at`, in unix time, is when all of it is left
    again. What workers have reserved counts as used."""

    limit: LimitName
    scope: Scope
    name: str
    bound: float
    used: float
    resets_at: int

    @property
    def remaining(self) -> float:
        return max(0.0, self.bound - self.used)


class LimitedSubject(NamedTuple):
    """A tenant, a group or an app, by its name, with its limits."""

    scope: Scope
    name: str
    bounds: Bounds


class LimitView:
    """Reads the store over a connection of its own. Raises OSError without the store."""

    def __init__(self, limiter: Limiter, store: LimitStore) -> None:
        self._limiter = limiter
        self._store = store
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<LimitView {self._store!r}>"

    async def of(self, tenant: str) -> list[LimitUse]:
        """Those of the tenant's key and of its group."""
        return await self._read(self._limiter.quotas(tenant, ""))

    async def each(self, subjects: Iterable[LimitedSubject]) -> list[LimitUse]:
        """Those of these subjects, whether or not they have sent requests."""
        now = self._limiter.clock()
        return await self._read(
            [
                Quota(one.scope, one.name, limit, bound, now, 0)
                for one in subjects
                for limit, bound in one.bounds.items()
            ]
        )

    def close(self) -> None:
        self._store.link.close()

    async def _read(self, quotas: Sequence[Quota]) -> list[LimitUse]:
        now = self._limiter.clock()
        found = [(quota, quota.at(now)) for quota in quotas]
        if not found:
            return []
        async with self._one_at_a_time:
            totals = await self._store.totals([key for quota, meter in found for key in quota.keys(meter)[:2]])
        return [
            _rate(quota, meter.period, now, total, before) if quota.slides else _budget(quota, meter.period, total)
            for (quota, meter), total, before in zip(found, totals[::2], totals[1::2], strict=True)
        ]


def _budget(quota: Quota, period: Period, total: int) -> LimitUse:
    return LimitUse(quota.name, quota.scope, quota.subject, quota.bound / NANO, total / NANO, period.end)


def _rate(quota: Quota, period: Period, now: float, total: int, before: int) -> LimitUse:
    used = total + math.floor(before * period.left(now))
    resets = period.end + (MINUTE if total else 0)
    return LimitUse(quota.name, quota.scope, quota.subject, quota.bound, used, resets)
