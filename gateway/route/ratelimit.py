"""How much one endpoint may be sent in a minute: what it publishes, and what its 429s have taught.

    sent ──> requests and tokens of the last minute ──a limit is reached──> full, until enough of them are a minute old
    429s ──> learned limits = 80 % of what the last minute held; a tenth of it is added for every minute since

One 429 among many answers is the host's mood and only waited out; rates are learned where a tenth of a minute's
requests, and three at least, were refused.

Whichever limit is lower counts. An endpoint that is full is asked after the others, so that it need not say 429 first.
"""

from collections import deque
from math import inf

from gateway.types import Limits

SLICE = 5.0  # seconds
SLICES = 13  # the current one, and the 12 that end within the minute before
AFTER_429 = 0.8
GROWTH = 0.1 / 60.0  # of the learned limit, for each second since the 429
FEWEST = 3  # 429s of one minute without which they say nothing about rates
TELLING = 0.1  # share of that minute's requests that they must be as well
DEFAULT_WAIT = 1.0  # seconds that a 429 without Retry-After shifts load
_UNITS = ("requests", "tokens")


class Minute:
    """[requests, tokens, 429s] of the last minute, in slices of 5 s. A slice counts until all of it is a minute old."""

    __slots__ = ("_current", "_slices", "totals")

    def __init__(self) -> None:
        self.totals = [0.0, 0.0, 0.0]
        self._current = -1  # number of the slice that is added to
        self._slices: deque[tuple[int, list[float]]] = deque()  # at most `SLICES`, the latest last

    def add(self, tokens: float, now: float) -> None:
        """One request with so many tokens."""
        self.pass_to(now)
        totals, latest = self.totals, self._slices[-1][1]
        totals[0] += 1
        totals[1] += tokens
        latest[0] += 1
        latest[1] += tokens

    def refused(self, now: float) -> None:
        """One request was answered 429."""
        self.pass_to(now)
        self.totals[2] += 1
        self._slices[-1][1][2] += 1

    def pass_to(self, now: float) -> None:
        """Leaves out what is a minute old."""
        number = int(now // SLICE)
        if number <= self._current:
            return
        self._current = number
        slices = self._slices
        while slices and slices[0][0] <= number - SLICES:
            slices.popleft()
        slices.append((number, [0.0, 0.0, 0.0]))
        self.totals = [sum(one[unit] for _, one in slices) for unit in range(3)]

    def under(self, unit: int, limit: float) -> float:
        """When the total of this unit will be under this limit, if nothing is added."""
        left = self.totals[unit]
        for number, amounts in self._slices:
            left -= amounts[unit]
            if left < limit:
                return (number + SLICES) * SLICE
        return (self._current + SLICES) * SLICE

    def __repr__(self) -> str:
        return f"<Minute {self.totals}>"


class RateLimit:
    """One endpoint's rates. `until` is when it may be asked again without a 429; in the past when that is at once."""

    __slots__ = ("_learned", "_lesson", "_limited", "_published", "minute", "until", "why")

    def __init__(self) -> None:
        self.minute = Minute()
        self.until = 0.0
        self.why = ""
        self._published = (inf, inf)
        self._learned = (inf, inf)
        self._lesson = 0.0  # when that was learned: what was sent before then has nothing to add
        self._limited = False  # whether there is any limit

    def publish(self, limits: Limits, share: float) -> None:
        """What the host allows, of which this worker may use a share."""
        self._published = (limits.rpm or inf) * share, (limits.tpm or inf) * share
        self._limited = min(*self._published, *self._learned) < inf

    def limit(self, unit: int, now: float) -> float:
        """The requests (0) or tokens (1) that a minute may hold."""
        grown = self._learned[unit] * (1 + GROWTH * (now - self._lesson))
        return min(self._published[unit], grown)

    def sent(self, tokens: float, now: float) -> None:
        """A request with so many tokens, expected output included, goes out."""
        self.minute.add(tokens, now)
        if self._limited:
            self._fill(now)

    def refused(self, sent_at: float, wait: float | None, now: float) -> None:
        """A request of that time was answered 429, with a Retry-After of `wait` seconds or none."""
        self._hold(now + (wait or DEFAULT_WAIT), "a 429 asked to wait")
        self.minute.refused(now)
        requests, tokens, refusals = self.minute.totals
        if sent_at < self._lesson or refusals < max(FEWEST, TELLING * requests):
            return
        self._learned = AFTER_429 * min(requests, self.limit(0, now)), AFTER_429 * min(tokens, self.limit(1, now))
        self._lesson, self._limited = now, True
        self._fill(now)

    def _fill(self, now: float) -> None:
        for unit, used in enumerate(self.minute.totals[:2]):
            limit = self.limit(unit, now)
            if used >= limit:
                why = f"{used:,.0f} of {limit:,.0f} {_UNITS[unit]} a minute are used"
                self._hold(self.minute.under(unit, limit), why)

    def _hold(self, until: float, why: str) -> None:
        if until > self.until:
            self.until, self.why = until, why

    def __repr__(self) -> str:
        return f"<RateLimit {self.minute!r} until={self.until:.0f} {self.why!r}>"
