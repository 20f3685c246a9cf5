"""The health of one endpoint: its breaker (closed, open, half-open), and slow start after it came back.

    closed --5 faults in a row, or half of the last ~20--> open --backoff passes--> half-open --2 successes--> closed
                                                            ^------------- any fault -------------'

An open breaker waits 5 s, then twice as long each time it trips again, at most 5 min, spread by up to 20 % so that
replicas do not probe together. Behind an error status it waits at most 10 s: such a probe costs its request next to
nothing, and the end of an outage is seen soon. The wait is reset only after the breaker has been closed for 5 min, so
an endpoint that flaps is not probed every few seconds. Half-open lets one request through at a time, the probe. A probe
that never reports is given up after a minute, so a breaker never stays open for ever.

Requests that were sent before the breaker opened no longer affect it when they end.

Workers share their breakers' transitions (`own`, `merge`). An opening at another worker opens this breaker for the same
time, and a closing there closes it. Each worker sends its own probes, so an idle worker does not hold up the others,
and its waits grow only with faults of its own requests. What happened last counts, in the order of the store's clock.

A fault may be a worker's own: its network, its DNS. So each trusts its own requests more. Where they contradicted what
another worker found, this breaker ignores other workers for 5 min, and longer while the contradiction lasts. Another
worker's opening delays its probe by the longest wait at most.

Slow start: an endpoint that came into use, or back, gets few requests at once, then more.

    began ──> 2 at once ──each success adds one, so twice as many each round──> 32, then no limit
                 ^──────────────a fault halves the limit──────────────────'

It is counted in answers and not in seconds, because answers are what shows that the endpoint holds.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from math import inf
from typing import Annotated

import msgspec

from gateway.route.posted import Posted
from gateway.route.sketch import Rate
from gateway.types import FAULTS

FAULTS_IN_A_ROW = 5
FAULT_SHARE = 0.5
FAULT_SHARE_OVER = 20.0  # requests, faded
FADES = 60.0  # seconds until a request counts half
TOGETHER = 0.1  # seconds within which requests that end well are counted together
FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 300.0
LONGEST_CHEAP_BACKOFF = 10.0  # where a probe is cheap
STEADY = 300.0  # seconds closed after which the waits start over
SPREAD = 0.2
PROBE_PATIENCE = 60.0
SUCCESSES_TO_CLOSE = 2
LONGEST_WAIT = LONGEST_BACKOFF * (1 + SPREAD)
ELSEWHERE = "at another worker"
WHY_CHARS = 64  # that are shared
FIRST = 2.0  # requests at once
ENOUGH_AT_ONCE = 32.0

_Millis = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_Wait = Annotated[int, msgspec.Meta(ge=0, le=int(1_000 * LONGEST_WAIT))]


class State(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class BreakerChange(msgspec.Struct, array_like=True, frozen=True):
    """How one worker's breaker last opened or closed by its own requests. Times in milliseconds, as of its writing."""

    number: Annotated[int, msgspec.Meta(ge=1, le=10**12)]  # of these changes, in sequence
    age: _Millis
    open: bool
    wait: _Wait = 0  # until it lets a probe through
    why: Annotated[str, msgspec.Meta(max_length=WHY_CHARS)] = ""


class Breaker:
    """Whether an endpoint may be sent requests. `now` in seconds; `draw` is one draw in [0, 1).

    `sent` gives a ticket, and each request reports with its ticket once: `succeeded`, `failed` or `released`.
    `until` is when an open breaker turns half-open, None while it is closed; only the breaker sets it.
    """

    __slots__ = (
        "_alone_until",
        "_backoff",
        "_changed_at",
        "_changes",
        "_closed_at",
        "_good",
        "_good_from",
        "_in_a_row",
        "_mine",
        "_old",
        "_on_open",
        "_opened_at",
        "_probe",
        "_probe_until",
        "_recent",
        "_seen",
        "_sent",
        "_successes",
        "_tripped",
        "until",
        "why",
    )

    def __init__(self, on_open: Callable[[], object] = bool) -> None:
        """`on_open` is called whenever it opens."""
        self._on_open = on_open
        self.why = ""  # the fault that opened it
        self._backoff = 0.0  # seconds; 0 until it first opens
        self._closed_at = 0.0
        self._sent = 0  # tickets given
        self._old = 0  # tickets up to this one were given before it opened
        self._probe = 0  # the probe's ticket; 0 when there is none
        self._probe_until = 0.0
        self._successes = 0
        self.until: float | None = None
        self._in_a_row = 0
        self._recent = Rate(half_life=FADES)
        self._good = 0  # requests that ended well and are not yet counted there: only a fault needs the count
        self._good_from = 0.0  # when the first of them did
        self._changes = 0  # by this worker's requests
        self._mine = False  # whether the last change was one of them
        self._changed_at = -inf  # when that was, wherever
        self._opened_at = -inf  # by this worker's requests, or while it was closed
        self._tripped = False  # whether this worker's requests opened it since it was closed
        self._alone_until = -inf  # until then other workers do not move it
        self._seen: dict[bytes, int] = {}  # the last change of each other worker

    def state(self, now: float) -> State:
        if self.until is None:
            return State.CLOSED
        return State.OPEN if now < self.until else State.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether one more request may be sent."""
        if self.until is None:
            return True
        return now >= self.until and not self._probing(now)

    def opens_until(self) -> float:
        """When an open breaker lets a probe through; 0 when it is closed."""
        return self.until or 0.0

    def sent(self, now: float) -> int:
        """A request was sent; in half-open the first becomes the probe. Returns its ticket."""
        self._sent += 1
        if self.until is not None and self.allows(now):
            self._probe, self._probe_until = self._sent, now + PROBE_PATIENCE
        return self._sent

    def released(self, ticket: int) -> None:
        """A request ended and says nothing about health (the client left)."""
        if ticket == self._probe:
            self._probe = 0

    def succeeded(self, ticket: int, now: float) -> bool:
        """A request ended well. Whether that closed the breaker."""
        if ticket == self._probe:
            self._probe = 0
        if now > self._good_from + TOGETHER:
            self._count_good()
            self._good_from = now
        self._good += 1
        self._in_a_row = 0
        if self.until is None or ticket <= self._old:
            return False
        self._successes += 1
        if self._successes < SUCCESSES_TO_CLOSE:
            return False
        if not self._tripped:
            self._alone_until = now + STEADY  # others opened it, but here it answers
        self._changed(now)
        self._close(now)
        return True

    def failed(self, ticket: int, now: float, draw: float, why: str) -> None:
        """A request ended by the endpoint's fault."""
        self.released(ticket)
        self._count_good()
        self._recent.add(False, now)
        self._in_a_row += 1
        if self._too_many(now) if self.until is None else ticket > self._old:
            self.trip(now, draw, why)

    def trip(self, now: float, draw: float, why: str) -> None:
        """Opens, or opens again for longer. While it is open this changes nothing."""
        if self.state(now) is State.OPEN:
            return
        steady = self.until is None and now - self._closed_at >= STEADY
        if self.until is None and not self._mine and now - self._changed_at < STEADY:
            self._alone_until = now + STEADY  # others closed it, but here it does not answer
        self._changed(now)
        fault = FAULTS.get(why)
        longest = LONGEST_CHEAP_BACKOFF if fault is not None and fault.cheap_to_probe else LONGEST_BACKOFF
        self._backoff = FIRST_BACKOFF if steady else min(longest, self._backoff * 2) or FIRST_BACKOFF
        self._open(now + self._backoff * (1 + SPREAD * draw), why)
        self._opened_at, self._tripped = now, True

    # what workers share

    def own(self, now: float) -> BreakerChange | None:
        """Its last change, for other workers; None where this worker's requests did not make it, or none need it."""
        if not self._mine or (self.until is None and now - self._changed_at > STEADY):
            return None
        age, wait = max(0.0, now - self._changed_at), max(0.0, self.opens_until() - now)
        open_, why = self.until is not None, self.why[:WHY_CHARS]
        return BreakerChange(self._changes, round(1_000 * age), open_, round(1_000 * wait), why)

    def merge(self, others: Sequence[Posted[BreakerChange]], now: float) -> bool:
        """Takes over what is new at the other workers; these are all that are known. Whether that closed it."""
        was_open, seen = self.until is not None, self._seen
        if now < self._alone_until:
            contradicted = any(one.value.open != was_open for one in others)
            self._alone_until = now + STEADY if contradicted else self._alone_until
        news = [one for one in others if one.value.number > seen.get(one.worker, 0)]
        self._seen = {one.worker: max(one.value.number, seen.get(one.worker, 0)) for one in others}
        for one in sorted(news, key=_oldest_first):
            at = now - _since(one)
            if at > self._changed_at and now >= self._alone_until:
                self._take(one.value, at, now - one.age, now)
        return was_open and self.until is None

    def _take(self, change: BreakerChange, at: float, written: float, now: float) -> None:
        closed = self.until is None
        if self._successes or self._probing(now) if change.open else closed:  # its own probes say more
            return
        self._mine, self._changed_at = False, at
        if not change.open:
            self._close(now)
            return
        if closed:
            self._opened_at = now
        until = min(written + change.wait / 1_000, self._opened_at + LONGEST_WAIT)
        self._open(max(now, until, self.until or now), f"{change.why} {ELSEWHERE}")

    def _changed(self, now: float) -> None:
        """By this worker's requests."""
        self._changes += 1
        self._mine, self._changed_at = True, now

    def _open(self, until: float, why: str) -> None:
        self.until, self.why = until, why
        self._on_open()
        self._old, self._probe, self._successes = self._sent, 0, 0

    def _close(self, now: float) -> None:
        self.until, self._closed_at, self.why = None, now, ""
        self._in_a_row, self._probe, self._successes, self._tripped = 0, 0, 0, False
        self._recent, self._good = Rate(half_life=FADES), 0

    def _count_good(self) -> None:
        if self._good:
            self._recent.add_all(self._good, self._good, self._good_from)
            self._good = 0

    def _probing(self, now: float) -> bool:
        return bool(self._probe) and now < self._probe_until

    def _too_many(self, now: float) -> bool:
        if self._in_a_row >= FAULTS_IN_A_ROW:
            return True
        return self._recent.count(now) >= FAULT_SHARE_OVER and self._recent.share(now, 1.0, 1.0) < 1 - FAULT_SHARE

    def __repr__(self) -> str:
        return f"<Breaker until={self.until} in_a_row={self._in_a_row} why={self.why!r}>"


class SlowStart:
    """How many requests one endpoint may have in flight (`window`); infinite unless `begin` was called."""

    __slots__ = ("window",)

    def __init__(self) -> None:
        self.window = inf

    def begin(self) -> None:
        self.window = FIRST

    def ended(self, good: bool) -> None:
        """One request succeeded or failed, while there is a limit."""
        if self.window == inf:
            return
        if not good:
            self.window = max(FIRST, self.window // 2)
        elif self.window < ENOUGH_AT_ONCE - 1:
            self.window += 1
        else:
            self.window = inf

    def __repr__(self) -> str:
        return f"<SlowStart {self.window:g}>"


def _since(one: Posted[BreakerChange]) -> float:
    """Seconds since this change."""
    return one.age + one.value.age / 1_000


def _oldest_first(one: Posted[BreakerChange]) -> tuple[float, bytes]:
    return -_since(one), one.worker
