"""How many attempts beyond the first one a model's requests may have together, so that an outage is not multiplied.

    attempts beyond the first, last 10 s  <=  share x requests, last 10 s  +  3 per second

That bound holds for attempts at endpoints that fail more often than not. An attempt at any other endpoint is counted,
but never refused: failover from one dead host to healthy ones needs as many attempts as there are requests, and goes to
hosts that have room for them. So where every host fails, they get `1 + share` times the requests; and no failure rate
can make the gateway send more than twice the requests plus the share, because an endpoint with a failure share of at
most a half takes two attempts on average.

As Finagle's and Envoy's retry budgets. Counts are kept for each of the last ten
seconds: no clock, and bounded.
"""

from collections import deque

from gateway.types.units import RETRY_SHARE

WINDOW = 10  # seconds
FLOOR = 3 * WINDOW  # attempts in a window, however few requests there are
USUALLY_FAILS = 0.5  # share of failed attempts


class RetryBudget:
    """The attempts beyond the first of one model in one worker. `refused` counts those that were not allowed."""

    __slots__ = ("_ends", "_extra", "_past", "_requests", "refused", "share")

    def __init__(self, share: float = RETRY_SHARE) -> None:
        self.share = share
        self.refused = 0
        self._ends = 0.0  # of the second that is counted now
        self._requests = 0  # in this second
        self._extra = 0
        self._past: deque[tuple[float, int, int]] = deque()  # earlier seconds: their ends and both counts

    def request(self, now: float) -> None:
        """A request begins. `now` in seconds, of a clock that never goes back."""
        if now >= self._ends:
            self._turn(now)
        self._requests += 1

    def allows(self, fails: float, now: float) -> bool:
        """Whether a request may have another attempt, at an endpoint with this share of failures. Counts it if so."""
        if now >= self._ends:
            self._turn(now)
        if fails > USUALLY_FAILS:
            requests = self._requests + sum(count for _, count, _ in self._past)
            extra = self._extra + sum(count for _, _, count in self._past)
            if extra + 1 > FLOOR + self.share * requests:
                self.refused += 1
                return False
        self._extra += 1
        return True

    def _turn(self, now: float) -> None:
        """A new second begins."""
        self._past.append((self._ends, self._requests, self._extra))
        self._requests = self._extra = 0
        self._ends = float(int(now) + 1)
        while self._past and self._past[0][0] <= self._ends - WINDOW:
            self._past.popleft()

    def __repr__(self) -> str:
        return f"<RetryBudget {self._extra} attempts more for {self._requests} requests in this second>"
