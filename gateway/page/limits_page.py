"""What is used of limits and budgets: `GET /page/limits.json`.

    gateway.yaml, virtual keys ── who has limits ──┐
    store ── what all workers and replicas took ───┴──> ShownLimits

Names of keys and groups are shown only where an admin key closes the page. An open page shows the limits of apps, whose
names are in its other panels, too, and how many others there are. No secret is shown, only the first digits of a key's
digest.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.config import NO_BOUNDS, Key, LimitSettings
from gateway.keys.limit_view import LimitedSubject, LimitUse, LimitView
from gateway.keys.limiter import limited
from gateway.page.page_types import ShownLimit, ShownLimits

FRESH = 2.0  # seconds for which a result is kept, so that many open pages cost as much as one
MOST = 100  # keys, groups and apps; the key management API has all keys
DIGITS = 8  # of a key's digest


class LimitsPage:
    """`keys` returns all keys in force. `closed`: the page needs the admin key."""

    def __init__(
        self,
        settings: LimitSettings,
        keys: Callable[[], Iterable[Key]],
        view: LimitView,
        closed: bool,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._view = view
        self._closed = closed
        self._clock = clock
        self._turn = asyncio.Lock()
        self._made: tuple[float, ShownLimits] | None = None

    def __repr__(self) -> str:
        return f"<LimitsPage {'closed' if self._closed else 'open'}>"

    async def shown(self, _: Request) -> ShownLimits:
        """HTTPException 503 without the store."""
        async with self._turn:
            if self._made is None or self._clock() - self._made[0] >= FRESH:
                try:
                    self._made = self._clock(), await self._read()
                except OSError:
                    raise HTTPException(503, "the use of the limits is unknown: the store is down") from None
            return self._made[1]

    async def _read(self) -> ShownLimits:
        keys = list(self._keys())
        # in lower case, as they are counted
        apps = [LimitedSubject("app", name.casefold(), bounds) for name, bounds in self._settings.apps.items()]
        others = [*self._groups(), *_limited_keys(keys)]
        wanted = [*apps, *others] if self._closed else apps
        first = {key.tenant: key for key in reversed(keys)}
        uses = await self._view.each(islice(wanted, MOST))
        return ShownLimits(
            limits=[_shown(use, first.get(use.name) if use.scope == "key" else None) for use in _by_need(uses)],
            hidden=0 if self._closed else len(others),
            more=max(0, len(wanted) - MOST),
        )

    def _groups(self) -> list[LimitedSubject]:
        return [LimitedSubject("group", name, bounds) for name, bounds in self._settings.groups.items()]


def _limited_keys(keys: Sequence[Key]) -> list[LimitedSubject]:
    return [
        LimitedSubject("key", tenant, one.bounds) for tenant, one in limited(keys).items() if one.bounds != NO_BOUNDS
    ]


def _by_need(uses: Iterable[LimitUse]) -> list[LimitUse]:
    """Those with the smallest share left first."""
    return sorted(uses, key=lambda use: (use.remaining / use.bound, use.scope, use.name))


def _shown(use: LimitUse, key: Key | None) -> ShownLimit:
    return ShownLimit(
        scope=use.scope,
        name=use.name,
        hash=key.digest.hex()[:DIGITS] if key else None,
        expires=key.expires if key else None,
        limit=use.limit,
        bound=use.bound,
        used=use.used,
        remaining=use.remaining,
        resets_at=use.resets_at,
    )
