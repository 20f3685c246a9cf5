"""Reserves for each request from this worker's shares of its limits, and keeps the shares filled.

    reserve ──free in every share──> LimitReservation, at once               shares <── in the background ──> store
       └── a share lacks something ──> waits for the store, WAIT at most ──> LimitReservation, or a Refusal

While the store is down no request waits: by `limits.without_store` it draws on a part of what was left, or is refused.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Literal, NamedTuple

from gateway.config import NO_BOUNDS, Bounds, Key, LimitName, LimitSettings, Scope
from gateway.keys.limit_reservation import Held, LimitReservation
from gateway.keys.limit_store import MOST, LimitStore, Line
from gateway.keys.meter import Meter
from gateway.keys.need import Need
from gateway.keys.quota import Quota

EVERY = 0.5  # seconds between two exchanges with the store
WAIT = 5.0  # seconds that a request waits for what requests under way and other workers hold
AGAIN = 0.05  # seconds between two exchanges while requests wait
REPLY_WITHIN = 0.5  # seconds for a reply
FAILURES = 2  # exchanges that fail in a row before the store counts as down: one reply may be late
MOST_WAITING = 10_000  # requests; further ones are treated as if the store were down
MOST_EACH = 1_000  # of them with the same limits: a flood of one key neither takes all places nor much of the CPU

Cause = Literal["reached", "reserved", "down"]


class Limited(NamedTuple):
    """The limits of a key, and the group whose limits it shares."""

    bounds: Bounds
    group: str | None


def limited(keys: Iterable[Key]) -> dict[str, Limited]:
    """The limits of each tenant. Its keys share them, and only one of them need have them."""
    found: dict[str, Limited] = {}
    for key in keys:
        if key.limits != NO_BOUNDS or key.group is not None:
            found.setdefault(key.tenant, Limited(key.limits, key.group))
    return found


class Refusal(NamedTuple):
    """Why a request is refused: the limit is reached; what is left of it is reserved for requests under way; or the
    store is down."""

    quota: Quota
    amount: int
    cause: Cause


class _Waiter(NamedTuple):
    quotas: Sequence[Quota]
    need: Need
    then: Callable[[LimitReservation | Refusal], None]
    until: float  # on the loop's clock


class Limiter:
    """One worker's limits. `workers` are those of this gateway; `clock` returns unix time.

    `refused` is called with the limit and its scope for each refusal.
    """

    def __init__(
        self,
        settings: LimitSettings,
        store: LimitStore,
        workers: int,
        clock: Callable[[], float],
        refused: Callable[[LimitName, Scope], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._workers = workers
        self.clock = clock
        self._refused = refused
        self._keys: Mapping[str, Limited] = {}
        self._apps: dict[str, Bounds] = {}  # by name in lower case
        self._quotas: dict[tuple[Scope, str, LimitName], Quota] = {}
        self._numbers = count()  # of quotas
        self._sets: dict[tuple[str, str], tuple[Quota, ...]] = {}  # by tenant and limited app
        self._live: dict[Meter, Quota] = {}  # those that the store has to know of
        self._waiting: list[_Waiter] = []
        self._queued: Counter[Sequence[Quota]] = Counter()  # those that wait, by their limits
        self._wake = asyncio.Event()
        self._has_limits = False
        self._failures = 0
        self.replace({}, settings)

    def __repr__(self) -> str:
        return f"<Limiter {len(self._quotas)} limits, {len(self._waiting)} requests wait>"

    @property
    def store_down(self) -> bool:
        """Whether the store counts as down."""
        return self._failures >= FAILURES

    def replace(self, keys: Mapping[str, Limited], settings: LimitSettings) -> None:
        """Other limits, of keys by tenant. What has been used of a limit stays used."""
        self._keys, self._settings = keys, settings
        self._apps = {name.casefold(): bounds for name, bounds in settings.apps.items()}
        self._has_limits = bool(settings.groups or settings.apps) or any(
            one.bounds != NO_BOUNDS for one in keys.values()
        )
        self._sets.clear()
        for place, quota in list(self._quotas.items()):
            bound = getattr(self._bounds(quota.scope, quota.subject), quota.name)
            if bound is None:
                quota.close()
                del self._quotas[place]
            else:
                quota.rebind(bound)

    def quotas(self, tenant: str, app: str) -> Sequence[Quota]:
        """The limits of a request: of its key, of the key's group, of its app."""
        if not self._has_limits:
            return ()
        limited = app.casefold() if self._apps else ""
        place = tenant, limited if limited in self._apps else ""
        found = self._sets.get(place)
        return self._known(place) if found is None else found

    def reserve(
        self, quotas: Sequence[Quota], need: Need, then: Callable[[LimitReservation | Refusal], None]
    ) -> LimitReservation | None:
        """The reservation if this worker's shares have what the request needs. Else None: `then` gets it later, or a
        refusal."""
        reservation = self._reserved(quotas, need)
        if reservation is not None:
            return reservation
        loop = asyncio.get_running_loop()
        is_full = self._queued[quotas] >= MOST_EACH
        waiter = _Waiter(quotas, need, then, loop.time() + (0.0 if is_full else WAIT))
        if self.store_down or len(self._waiting) >= MOST_WAITING:
            loop.call_soon(self._decide_alone, waiter)
        elif is_full:
            loop.call_soon(self._decide, waiter)
        else:
            self._wait(waiter)
            self._wake.set()
        return None

    def count(self, refusal: Refusal) -> None:
        """Counts one more request that this refuses."""
        self._refused(refusal.quota.name, refusal.quota.scope)

    def shares_left(self) -> dict[tuple[LimitName, Scope], float]:
        """The smallest remaining share of each kind of limit, 0 to 1, as far as this worker knows."""
        found: dict[tuple[LimitName, Scope], float] = {}
        now = self.clock()
        for quota in self._quotas.values():
            kind, share = (quota.name, quota.scope), quota.at(now).left / quota.bound
            found[kind] = min(found.get(kind, 1.0), share)
        return found

    async def run(self) -> None:
        """Exchanges with the store until cancelled."""
        while True:
            try:
                async with asyncio.timeout(AGAIN if self._waiting else EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.exchange()

    async def close(self) -> None:
        """Returns what is free, so that others have it at once."""
        for quota in self._quotas.values():
            quota.close()
        if not self.store_down:
            await self.exchange()
        self._store.link.close()

    async def exchange(self) -> None:
        """One exchange with the store: reports, takes, returns. Then decides about the requests that wait."""
        self._prepare()
        reached = await self._store.link.attempt(self._exchange)
        self._failures = 0 if reached else self._failures + 1
        waiting, self._waiting = self._waiting, []
        self._queued.clear()
        for waiter in waiting:
            if self.store_down:
                self._decide_alone(waiter)
            else:
                self._decide(waiter)

    def _prepare(self) -> None:
        """Begins the minute, and takes a share of the next day or month early, so that their first requests need not
        wait."""
        now = self.clock()
        for quota in self._quotas.values():
            self._live[quota.at(now)] = quota
            if (upcoming := quota.prepare(now)) is not None:
                self._live[upcoming] = quota

    async def _exchange(self) -> None:
        now, needs = self.clock(), self._needs()
        lines: list[tuple[Meter, Line]] = []
        for meter, quota in list(self._live.items()):
            request = meter.share_request(*needs.get(meter, (0, 0)), now)
            if request is not None:
                period = meter.period
                line = Line(quota.keys(meter), meter.bound, period.end, request, quota.number, period.left(now))
                lines.append((meter, line))
            elif not meter.in_flight:
                del self._live[meter]
        for start in range(0, len(lines), MOST):
            part = lines[start : start + MOST]
            async with asyncio.timeout(REPLY_WITHIN):
                grants = await self._store.exchange([line for _, line in part])
            for (meter, line), grant in zip(part, grants, strict=True):
                meter.granted(line.request, grant)

    def _needs(self) -> dict[Meter, tuple[int, int]]:
        """What waiting requests lack, by meter: the sum, and the least of one."""
        found: dict[Meter, tuple[int, int]] = {}
        now = self.clock()
        for waiter in self._waiting:
            for quota in waiter.quotas:
                meter = quota.at(now)
                self._live[meter] = quota
                amount = self._amount(quota, waiter.need)
                needed, least = found.get(meter, (0, amount))
                found[meter] = needed + amount, min(least, amount)
        return found

    def _reserved(self, quotas: Sequence[Quota], need: Need) -> LimitReservation | None:
        now = self.clock()
        held: list[Held] = []
        for quota in quotas:
            meter, amount = quota.at(now), self._amount(quota, need)
            if not meter.reserve(amount):
                for _, other, reserved in held:
                    other.settle(reserved, 0)
                return None
            held.append((quota, meter, amount))
        for quota, meter, amount in held:
            if quota.name == "requests_per_minute":
                meter.settle(amount, amount)
        return LimitReservation(held)

    def _amount(self, quota: Quota, need: Need) -> int:
        """A request that may need more than the whole limit gets it if nothing else is under way."""
        return min(need.of(quota.name), quota.bound)

    def _decide(self, waiter: _Waiter) -> None:
        reservation = self._reserved(waiter.quotas, waiter.need)
        if reservation is not None:
            waiter.then(reservation)
            return
        lacking = self._lacking(waiter)
        exhausted = next((one for one in lacking if self._exhausted(one, waiter.need)), None)
        if exhausted is not None:
            self._refuse(waiter, exhausted, "reached")
        elif lacking and asyncio.get_running_loop().time() >= waiter.until:
            self._refuse(waiter, lacking[0], "reserved")
        else:
            self._wait(waiter)

    def _wait(self, waiter: _Waiter) -> None:
        self._waiting.append(waiter)
        self._queued[waiter.quotas] += 1

    def _decide_alone(self, waiter: _Waiter) -> None:
        """While the store is down."""
        now = self.clock()
        for quota in self._lacking(waiter):
            meter, amount = quota.at(now), self._amount(quota, waiter.need)
            allowed = self._settings.without_store == "open"
            if self._exhausted(quota, waiter.need):
                self._refuse(waiter, quota, "reached")
                return
            if not (allowed and meter.grant_locally(amount, self._workers)):
                self._refuse(waiter, quota, "down")
                return
            self._live[meter] = quota
        reservation = self._reserved(waiter.quotas, waiter.need)
        if reservation is None:  # a period has just ended
            self._refuse(waiter, waiter.quotas[0], "down")
        else:
            waiter.then(reservation)

    def _exhausted(self, quota: Quota, need: Need) -> bool:
        return quota.meter.exhausts(self._amount(quota, need))

    def _lacking(self, waiter: _Waiter) -> list[Quota]:
        now = self.clock()
        return [one for one in waiter.quotas if one.at(now).free < self._amount(one, waiter.need)]

    def _refuse(self, waiter: _Waiter, quota: Quota, cause: Cause) -> None:
        refusal = Refusal(quota, self._amount(quota, waiter.need), cause)
        self.count(refusal)
        waiter.then(refusal)

    def _bounds(self, scope: Scope, subject: str) -> Bounds:
        if scope == "key":
            limited = self._keys.get(subject)
            return NO_BOUNDS if limited is None else limited.bounds
        return (self._settings.groups if scope == "group" else self._apps).get(subject, NO_BOUNDS)

    def _known(self, place: tuple[str, str]) -> tuple[Quota, ...]:
        tenant, app = place
        limited = self._keys.get(tenant)
        found = [
            *self._of("key", tenant),
            *self._of("group", limited.group if limited else None),
            *self._of("app", app),
        ]
        self._sets[place] = tuple(found)
        return self._sets[place]

    def _of(self, scope: Scope, subject: str | None) -> Iterator[Quota]:
        if not subject:
            return
        for name, bound in self._bounds(scope, subject).items():
            place = scope, subject, name
            if place not in self._quotas:
                self._quotas[place] = Quota(scope, subject, name, bound, self.clock(), next(self._numbers))
            yield self._quotas[place]
