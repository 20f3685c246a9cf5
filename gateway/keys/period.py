"""The minute, day or month that a limit counts in, in UTC.

Days and months begin at 0. Minutes slide: a part of the minute before counts, too, which shrinks to nothing.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from gateway.config import LimitName

NANO = 1_000_000_000  # budgets count in 1e-9 USD: Lua's numbers hold nine million dollars of these exactly
PER_NANO = 1_000  # of 1e-12 USD
MINUTE = 60
_LENGTH: dict[LimitName, int] = {"requests_per_minute": MINUTE, "tokens_per_minute": MINUTE, "usd_per_day": 86_400}


class Period(NamedTuple):
    """From `start` up to `end`, in unix time."""

    start: int
    end: int

    def left(self, now: float) -> float:
        """The part of it that is left, 0 to 1."""
        return min(1.0, max(0.0, (self.end - now) / (self.end - self.start)))


def period_of(name: LimitName, now: float) -> Period:
    """The period of this limit that contains `now` (unix time)."""
    length = _LENGTH.get(name)
    if length is not None:
        start = int(now // length) * length
        return Period(start, start + length)
    month = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return Period(int(month.timestamp()), int(next_month.timestamp()))


def slides(name: LimitName) -> bool:
    """Whether it is a limit per minute."""
    return _LENGTH.get(name) == MINUTE


def units(name: LimitName, bound: float) -> int:
    """A bound as a meter counts it: requests, tokens, or 1e-9 USD."""
    return round(bound * NANO) if name.startswith("usd") else int(bound)
