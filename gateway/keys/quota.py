"""One limit of one key, group or app: its meter of the current period, as this worker has it."""

from urllib.parse import quote

from gateway.config import LimitName, Scope
from gateway.keys.limit_store import PREFIX
from gateway.keys.meter import Meter
from gateway.keys.period import period_of, units

EARLY = 2.0  # seconds before the end of a period from which a share of the next one is taken


class Quota:
    """`subject` is the tenant, the group or the app. `number` is another for each quota of a worker. Times are in unix
    time."""

    __slots__ = ("bound", "meter", "name", "number", "scope", "subject", "upcoming")

    def __init__(self, scope: Scope, subject: str, name: LimitName, bound: float, now: float, number: int) -> None:
        self.scope = scope
        self.subject = subject
        self.name = name
        self.number = number
        self.bound = units(name, bound)
        self.meter = Meter(self.bound, period_of(name, now), now)
        self.upcoming: Meter | None = None

    def __repr__(self) -> str:
        return f"<Quota {self.name} of {self.scope} {self.subject}: {self.meter!r}>"

    def key(self, meter: Meter) -> str:
        """The key in the store of this meter's period."""
        return f"{PREFIX}{self.name}:{meter.period.start}:{self.scope}:{quote(self.subject, safe='')}"

    def at(self, now: float) -> Meter:
        """The meter to reserve from. A clock that is set back does not bring an earlier period back."""
        if now >= self.meter.period.end:
            self._next(now)
        return self.meter

    def prepare(self, now: float) -> Meter | None:
        """The meter of the next period once that is near; None before."""
        end = self.meter.period.end
        if self.upcoming is None and now >= end - EARLY:
            self.upcoming = Meter(self.bound, period_of(self.name, end), now)
            self.upcoming.follow(self.meter)
        return self.upcoming

    def rebind(self, bound: float) -> None:
        """Another bound, which holds for the current period, too."""
        self.bound = units(self.name, bound)
        self.meter.rebind(self.bound)
        if self.upcoming is not None:
            self.upcoming.rebind(self.bound)

    def close(self) -> None:
        """The limit ends: what is free is returned."""
        self.meter.closed = True
        if self.upcoming is not None:
            self.upcoming.closed = True

    def _next(self, now: float) -> None:
        before, upcoming = self.meter, self.upcoming
        before.closed = True
        if upcoming is None or now >= upcoming.period.end:
            upcoming = Meter(self.bound, period_of(self.name, now), now)
            upcoming.follow(before)
        self.meter, self.upcoming = upcoming, None
