"""A breaker per endpoint: closed, open, half-open.

    closed --5 faults in a row, or half of the last ~20--> open --backoff passes--> half-open --2 successes--> closed
                                                            ^------------- any fault -------------'

An open breaker waits 5 s, then twice as long each time it trips again, at most 5 min, spread by up to 20 % so that
replicas do not probe together. It starts over once it has been closed for 5 min: what fails, recovers and fails again
is not asked every few seconds. Half-open lets one request through at a time, the probe. A probe that never reports
loses its place after a minute, so a breaker never stays open for good.

Requests that were sent before the breaker opened tell about that time: their ends no longer move it.
"""

from enum import IntEnum

from gateway.route.sketch import Rate

FAULTS_IN_A_ROW = 5
FAULT_SHARE = 0.5
FAULT_SHARE_OVER = 20.0  # requests, faded
FADES = 60.0  # seconds until a request counts half
FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 300.0
STEADY = 300.0  # seconds closed after which the waits start over
SPREAD = 0.2
PROBE_PATIENCE = 60.0
SUCCESSES_TO_CLOSE = 2


class State(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Whether an endpoint may be asked. `now` in seconds; `chance` is one draw in [0, 1).

    `sent` gives a ticket, and each request reports with its ticket once: `succeeded`, `failed` or `released`.
    `until` is when an open breaker turns half-open, None while it is closed; only the breaker sets it.
    """

    __slots__ = (
        "_backoff",
        "_closed_at",
        "_in_a_row",
        "_old",
        "_probe",
        "_probe_until",
        "_recent",
        "_sent",
        "_successes",
        "until",
        "why",
    )

    def __init__(self) -> None:
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
        """A request ended without telling anything about health (the client left)."""
        if ticket == self._probe:
            self._probe = 0

    def succeeded(self, ticket: int, now: float) -> bool:
        """A request ended well. Whether that closed the breaker."""
        self.released(ticket)
        self._recent.add(True, now)
        self._in_a_row = 0
        if self.until is None or ticket <= self._old:
            return False
        self._successes += 1
        if self._successes < SUCCESSES_TO_CLOSE:
            return False
        self.until, self._closed_at, self.why = None, now, ""
        self._recent = Rate(half_life=FADES)
        return True

    def failed(self, ticket: int, now: float, chance: float, why: str) -> None:
        """A request ended by the endpoint's fault."""
        self.released(ticket)
        self._recent.add(False, now)
        self._in_a_row += 1
        if self._too_many(now) if self.until is None else ticket > self._old:
            self.trip(now, chance, why)

    def trip(self, now: float, chance: float, why: str) -> None:
        """Opens, or opens again for longer. While it is open this changes nothing."""
        if self.state(now) is State.OPEN:
            return
        steady = self.until is None and now - self._closed_at >= STEADY
        self._backoff = FIRST_BACKOFF if steady else min(LONGEST_BACKOFF, self._backoff * 2) or FIRST_BACKOFF
        self.until = now + self._backoff * (1 + SPREAD * chance)
        self._old, self._probe, self._successes = self._sent, 0, 0
        self.why = why

    def _probing(self, now: float) -> bool:
        return bool(self._probe) and now < self._probe_until

    def _too_many(self, now: float) -> bool:
        if self._in_a_row >= FAULTS_IN_A_ROW:
            return True
        return self._recent.count(now) >= FAULT_SHARE_OVER and self._recent.share(now, 1.0, 1.0) < 1 - FAULT_SHARE

    def __repr__(self) -> str:
        return f"<Breaker until={self.until} in_a_row={self._in_a_row} why={self.why!r}>"
