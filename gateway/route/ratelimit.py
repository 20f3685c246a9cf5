"""How much one endpoint may be sent in a minute: its published limits, and limits learned from 429s.

    sent ──> requests and tokens of the last minute ──a limit is reached──> full, until enough of them are a minute old
    429s ──> learned limits = 80 % of what the last minute held; a tenth of it is added for every minute since

An isolated 429 only has its Retry-After honoured. A limit is learned only if at least three requests, and a tenth of
the last minute's, got a 429.

Whichever limit is lower counts. An endpoint that is full comes after the others, before it has to answer 429.

The Retry-After of any other failure is honoured too, for 5 min at most, and does not affect learned limits.

A limit is that of all workers together. Workers share their last minute, their Retry-After and their learned limits
(`own`, `merge`); each is expected to have sent as much as this one since the last merge. So a worker without a store
keeps to its share of a limit, and one that shares may use what the others leave.
"""

from collections.abc import Sequence
from math import inf
from typing import Annotated

import msgspec

from gateway.route.minute import REFUSED, REQUESTS, TOKENS, Minute, Slice
from gateway.route.posted import Posted
from gateway.types import Limits

AFTER_429 = 0.8
GROWTH = 0.1 / 60.0  # of the learned limit, for each second since the 429
FEWEST = 3  # 429s in a minute from which a limit is learned
LEAST_SHARE = 0.1  # of the minute's requests that 429s must be as well
DEFAULT_WAIT = 1.0  # seconds that a 429 without Retry-After shifts load
LONGEST_HOLD = 300.0  # seconds, of a Retry-After of anything but a 429: as long as a breaker waits at most
BELIEVED = 60.0  # seconds for which a Retry-After is honoured where no other endpoint can serve
LONGEST_WAIT = 3_600.0  # seconds, of another worker's Retry-After
NEWS = 1.0  # seconds by which another worker's wait must be longer to count as a new one
LEARNED_KEPT = 3_600.0  # seconds for which learned limits are shared
_NAMES = {REQUESTS: "requests", TOKENS: "tokens"}

_Millis = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_Wait = Annotated[int, msgspec.Meta(ge=0, le=int(1_000 * LONGEST_WAIT))]
_Limit = Annotated[int, msgspec.Meta(ge=1, le=10**15)]


class Rates(msgspec.Struct, array_like=True, frozen=True):
    """What one worker knows of an endpoint's rates, in milliseconds as of its writing.

    `wait` is the rest of a Retry-After that it got itself; `lesson` is what it learned from 429s: when, and the limits
    of requests and tokens.
    """

    slices: Annotated[list[Slice], msgspec.Meta(max_length=16)] = []
    wait: _Wait = 0
    lesson: tuple[_Millis, _Limit, _Limit] | None = None


class RateLimit:
    """One endpoint's rates. `until`: rate-limited until then, in seconds; past means not limited."""

    __slots__ = (
        "_full",
        "_learned",
        "_lesson",
        "_mine",
        "_others",
        "_published",
        "_wait",
        "_wait_here",
        "_wait_since",
        "_workers",
        "limited",
        "minute",
        "until",
        "why",
    )

    def __init__(self) -> None:
        self.minute = Minute()
        self.until = 0.0
        self.why = ""
        self._wait = self._full = (0.0, "")  # until when, and why
        self._wait_since = 0.0  # when the last Retry-After came
        self._wait_here = 0.0  # until when this worker's own Retry-After holds
        self._workers = 1
        self._others = 0  # other workers
        self._published = (inf, inf)
        self._learned = (inf, inf)
        self._lesson = 0.0  # when that was learned: 429s of requests sent before then are ignored
        self._mine = False  # whether this worker learned it
        self.limited = False  # whether there is any limit

    def publish(self, limits: Limits, workers: int) -> None:
        """Sets the host's published limits, which `workers` workers share."""
        self._workers = workers
        self._others = max(self._others, workers - 1)
        self._published = limits.rpm or inf, limits.tpm or inf
        self.limited = min(*self._published, *self._learned) < inf

    def limit(self, unit: int, now: float) -> float:
        """The requests (0) or tokens (1) that a minute may hold, of all workers."""
        grown = self._learned[unit] * (1 + GROWTH * (now - self._lesson))
        return min(self._published[unit], grown)

    def sent(self, tokens: float, now: float) -> None:
        """Records a request of `tokens` tokens, including expected output."""
        self.minute.add(tokens, now)
        if self.limited:
            self._fill(now)

    @property
    def retry_at(self) -> float:
        """Until when a Retry-After holds where no other endpoint can serve: `BELIEVED` seconds at most.

        Past where none holds, at this worker or another.
        """
        return min(self._wait[0], self._wait_since + BELIEVED)

    def hold(self, wait: float, now: float) -> None:
        """A failure that has nothing to do with rates came with a Retry-After of `wait` seconds."""
        self._hold(min(wait, LONGEST_HOLD), "an error asked to wait", now)
        self._fill(now)

    def refused(self, sent_at: float, wait: float | None, now: float) -> None:
        """A request of that time was answered 429, with a Retry-After of `wait` seconds or none."""
        self._hold(wait or DEFAULT_WAIT, "a 429 asked to wait", now)
        self.minute.refused(now)
        if sent_at >= self._lesson and self._telling():
            sent = [self.minute.expected(unit, self._others) for unit in (REQUESTS, TOKENS)]
            self._learned = AFTER_429 * min(sent[0], self.limit(0, now)), AFTER_429 * min(sent[1], self.limit(1, now))
            self._lesson, self._mine, self.limited = now, True, True
        self._fill(now)

    # what workers share

    def own(self, now: float) -> Rates | None:
        """What this worker learned itself, for the others; None if there is nothing."""
        slices = self.minute.own(now)
        wait = min(LONGEST_WAIT, max(0.0, self._wait_here - now))
        lesson, age = None, now - self._lesson
        if self._mine and age < LEARNED_KEPT:
            requests, tokens = (max(1, round(limit)) for limit in self._learned)
            lesson = round(1_000 * age), requests, tokens
        return Rates(slices, round(1_000 * wait), lesson) if slices or wait or lesson else None

    def merge(self, others: Sequence[Posted[Rates | None]], now: float) -> None:
        """Takes what each other worker knows, in place of what was known of them."""
        self._others = max(self._workers - 1, len(others))
        known = [one.of(one.value) for one in others if one.value is not None]
        self.minute.merge([one.of(one.value.slices) for one in known], now)
        for one in known:
            until = now + one.value.wait / 1_000 - one.age
            if until > now:
                self._wait_until(until, "another worker got a Retry-After", now)
            if one.value.lesson is not None:
                age, requests, tokens = one.value.lesson
                self._take(now - one.age - age / 1_000, requests, tokens)
        self._fill(now)

    def _hold(self, wait: float, why: str, now: float) -> None:
        self._wait_here = max(self._wait_here, now + wait)
        self._wait_until(now + wait, why, now)
        self._wait_since = now

    def _wait_until(self, until: float, why: str, now: float) -> None:
        if until > self._wait[0] + NEWS:
            self._wait_since = now
        self._wait = max(self._wait, (until, why))

    def _take(self, at: float, requests: int, tokens: int) -> None:
        """Takes the limits that another worker learned from 429s, unless this worker's are newer."""
        if at > self._lesson:
            self._learned = float(requests), float(tokens)
            self._lesson, self._mine, self.limited = at, False, True

    def _telling(self) -> bool:
        """Whether the minute has enough 429s to learn a limit from them."""
        totals = self.minute.totals
        return totals[REFUSED] >= max(FEWEST, LEAST_SHARE * totals[REQUESTS])

    def _fill(self, now: float) -> None:
        self._full = 0.0, ""
        for unit, name in _NAMES.items():
            limit = self.limit(unit, now)
            used = self.minute.expected(unit, self._others)
            if used >= limit:
                until = self.minute.under(unit, limit, self._others)
                self._full = max(self._full, (until, f"{used:,.0f} of {limit:,.0f} {name} a minute are used"))
        self.until, self.why = max(self._wait, self._full)

    def __repr__(self) -> str:
        return f"<RateLimit {self.minute!r} until={self.until:.0f} {self.why!r}>"
