"""One limit of one key, group or app: its meter of the current period, as this worker has it."""

from urllib.parse import quote

from gateway.config import LimitName, Scope
from gateway.keys.limit_store import PREFIX
from gateway.keys.meter import Meter
from gateway.keys.period import MINUTE, period_of, slides, units

EARLY = 2.0  # seconds before the end of a day or month from which a share of the next one is taken


class Quota:
    """`subject` is the tenant, the group or the app. `number` is another for each quota of a worker. Times are in unix
    time."""

    __slots__ = ("bound", "meter", "name", "number", "scope", "slides", "subject", "upcoming")

    def __init__(self, scope: Scope, subject: str, name: LimitName, bound: float, now: float, number: int) -> None:
        self.scope = scope
        self.subject = subject
        self.name = name
        self.number = number
        self.slides = slides(name)
        self.bound = units(name, bound)
        self.meter = Meter(self.bound, period_of(name, now), now)
        self.upcoming: Meter | None = None

    def __repr__(self) -> str:
        return f"<Quota {self.name} of {self.scope} {self.subject}: {self.meter!r}>"

    def keys(self, meter: Meter) -> tuple[str, str, str]:
        """The keys in the store of this meter's period, of the minute before and of the minute after. Days and months
        begin at 0: theirs are all the same."""
        start, step = meter.period.start, MINUTE if self.slides else 0
        return self._key(start), self._key(start - step), self._key(start + step)

    def at(self, now: float) -> Meter:
        """The meter to reserve from. A clock that is set back does not bring an earlier period back."""
        if now >= self.meter.period.end:
            self._next(now)
        if self.meter.before:
            self.meter.slide(now)
        return self.meter

    def prepare(self, now: float) -> Meter | None:
        """The meter of the next day or month once that is near; None before, and for minutes."""
        if self.slides:
            return None
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

    def _key(self, start: int) -> str:
        return f"{PREFIX}{self.name}:{start}:{self.scope}:{quote(self.subject, safe='')}"

    def _next(self, now: float) -> None:
        before, upcoming = self.meter, self.upcoming
        before.closed = True
        if upcoming is None or now >= upcoming.period.end:
            upcoming = Meter(self.bound, period_of(self.name, now), now)
            upcoming.follow(before)
            if self.slides and upcoming.period.start == before.period.end:
                upcoming.slide_on(before, now)
        self.meter, self.upcoming = upcoming, None
