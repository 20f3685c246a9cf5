"""How many attempts beyond the first one a model's requests may have together, so that an outage is not multiplied.

    attempts beyond the first, last 10 s  <=  share x requests, last 10 s  +  3 per second

That bound holds for attempts at endpoints that fail more often than not. An attempt at any other endpoint is counted,
but never refused: failover from one dead host to healthy ones needs as many attempts as there are requests, and goes to
hosts that have room for them. So where every host fails, they get `1 + share` times the requests; and no failure rate
can make the gateway send more than twice the requests plus the share, because an endpoint with a failure share of at
most a half takes two attempts on average.

As Finagle's and Envoy's retry budgets. Counts are kept by whole second, in a ring: no clock, and bounded.
"""

from gateway.types.units import RETRY_SHARE

WINDOW = 10  # seconds
FLOOR = 3 * WINDOW  # attempts in a window, however few requests there are
USUALLY_FAILS = 0.5  # share of failed attempts


class RetryBudget:
    """The attempts beyond the first of one model in one worker. `refused` counts those that were not allowed."""

    __slots__ = ("_extra", "_requests", "_second", "refused", "share")

    def __init__(self, share: float = RETRY_SHARE) -> None:
        self.share = share
        self.refused = 0
        self._second = 0
        self._requests = [0] * WINDOW  # by second, modulo the window
        self._extra = [0] * WINDOW

    def request(self, now: float) -> None:
        """A request begins. `now` in seconds, of a clock that never goes back."""
        second = int(now)
        if second != self._second:
            self._forget(second)
        self._requests[second % WINDOW] += 1

    def allows(self, fails: float, now: float) -> bool:
        """Whether a request may have another attempt, at an endpoint with this share of failures. Counts it if so."""
        second = int(now)
        if second != self._second:
            self._forget(second)
        if fails > USUALLY_FAILS and sum(self._extra) + 1 > FLOOR + self.share * sum(self._requests):
            self.refused += 1
            return False
        self._extra[second % WINDOW] += 1
        return True

    def _forget(self, second: int) -> None:
        """Makes this second the last one of the window."""
        for past in range(max(self._second + 1, second - WINDOW + 1), second + 1):
            self._requests[past % WINDOW] = self._extra[past % WINDOW] = 0
        self._second = second

    def __repr__(self) -> str:
        return f"<RetryBudget {sum(self._extra)} attempts more for {sum(self._requests)} requests>"
