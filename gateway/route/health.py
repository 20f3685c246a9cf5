"""A breaker per endpoint: closed, open, half-open.

    closed --5 faults in a row, or half of the last ~20--> open --backoff passes--> half-open --2 successes--> closed
                                                            ^------------- any fault -------------'

An open breaker waits 5 s, then twice as long each time it trips again, at most 5 min, spread by up to 20 % so that
replicas do not probe together. Half-open lets one request through at a time. A breaker never stays open for good.
"""

from enum import IntEnum

from gateway.route.sketch import Rate

FAULTS_IN_A_ROW = 5
FAULT_SHARE = 0.5
FAULT_SHARE_OVER = 20.0  # requests, faded
FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 300.0
SPREAD = 0.2
SUCCESSES_TO_CLOSE = 2


class State(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Whether an endpoint may be asked. `now` in seconds; `chance` is one draw in [0, 1)."""

    __slots__ = ("_backoff", "_in_a_row", "_probing", "_recent", "_successes", "_until", "why")

    def __init__(self) -> None:
        self.why = ""  # the fault that opened it
        self._backoff = FIRST_BACKOFF
        self._in_a_row = 0
        self._recent = Rate(half_life=60.0)
        self._probing = False
        self._successes = 0
        self._until: float | None = None  # when an open breaker turns half-open

    def state(self, now: float) -> State:
        if self._until is None:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether one more request may be sent."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self._probing)

    def opens_until(self) -> float:
        return self._until or 0.0

    def sent(self, now: float) -> None:
        """A request was sent: in half-open it takes the only probe."""
        if self.state(now) is State.HALF_OPEN:
            self._probing = True

    def released(self) -> None:
        """A request ended without telling anything about health (the client left)."""
        self._probing = False

    def succeeded(self, now: float) -> None:
        self._recent.add(True, now)
        self._in_a_row = 0
        self._probing = False
        if self._until is None:
            return
        self._successes += 1
        if self._successes >= SUCCESSES_TO_CLOSE:
            self._until, self._successes, self._backoff, self.why = None, 0, FIRST_BACKOFF, ""

    def failed(self, now: float, chance: float, why: str) -> None:
        self._recent.add(False, now)
        self._in_a_row += 1
        self._probing = False
        if self._until is not None or self._too_many(now):
            self.trip(now, chance, why)

    def trip(self, now: float, chance: float, why: str) -> None:
        """Opens, or opens again for longer. A fault that arrives while it is open changes nothing."""
        if self.state(now) is State.OPEN:
            return
        if self._until is not None:
            self._backoff = min(LONGEST_BACKOFF, self._backoff * 2)
        self._until = now + self._backoff * (1 + SPREAD * chance)
        self._successes = self._in_a_row = 0
        self.why = why

    def _too_many(self, now: float) -> bool:
        if self._in_a_row >= FAULTS_IN_A_ROW:
            return True
        return self._recent.count(now) >= FAULT_SHARE_OVER and self._recent.share(now, 1.0, 1.0) < 1 - FAULT_SHARE

    def __repr__(self) -> str:
        return f"<Breaker until={self._until} in_a_row={self._in_a_row} why={self.why!r}>"
