"""One limit in one period, as one worker knows it: what it has taken from the store, and what of that is free.

    taken = used up + in flight + free            store: the sum of `taken` over all workers never exceeds the bound
    per minute: the sum, and the minute before weighted by the part of it that is less than a minute ago

    need ──reserve──> in flight ──settle──> used up, the rest is free again
    free runs low ──share_request──> store ──granted──> free     free is too much ──share_request──> less is taken

`taken` is absolute: a call to the store that is lost, repeated, or executed without its reply is corrected by the next
one. What a worker had taken when it died counts as used.
"""

import math
from typing import NamedTuple

from gateway.keys.period import Period

AHEAD = 2.0  # seconds of demand that a worker takes ahead
KEPT = 10.0  # seconds for which a share is kept after the last request
SHARES = 4  # a share is at most this part of each worker's part of what is left
LATE = 2.0  # seconds after which at the latest the store knows what a worker has carried over into a minute
LOCAL_PARTS = 4  # without the store: all workers together grant themselves one part of so many of what was left
NEVER = -1


class ShareRequest(NamedTuple):
    """What a worker reports to the store, and what it requests. `known` is the sum that it has seen last, `reported`
    what it had taken then, and `origin` names the data of the store; empty before the first reply. `before` is the sum
    of the minute before that it has seen last.

    `want` is granted in full, or what is left of it, but nothing below `least`.
    """

    taken: int
    held: int
    known: int
    want: int
    least: int
    reported: int
    origin: bytes
    before: int


class Grant(NamedTuple):
    """The store's reply: what is granted, the sum over all workers, what of it is held by workers for requests in
    flight or to come, how many workers there are, whether one of them lacks something, and for a limit per minute the
    sum of the minute before."""

    granted: int
    total: int
    held: int
    workers: int
    short: bool
    origin: bytes
    before: int


class Meter:
    """Amounts are integers in one unit. `bound` may change; `now` is on the clock of the period, in seconds.

    `before` is what all workers took in the minute before, and `sliding` the part of it that still counts. Both are 0
    for days and months.
    """

    __slots__ = (
        "_demand",
        "_demand_at",
        "_local_used",
        "_origin",
        "_reported",
        "_requested",
        "_unanswered",
        "_untaken",
        "_used_at",
        "before",
        "bound",
        "closed",
        "free",
        "in_flight",
        "known",
        "others_held",
        "period",
        "short",
        "sliding",
        "taken",
        "workers",
    )

    def __init__(self, bound: int, period: Period, now: float) -> None:
        self.bound = bound
        self.period = period
        self.taken = 0
        self.free = 0
        self.in_flight = 0
        self.known = NEVER
        self.before = 0
        self.sliding = 0
        self.others_held = 0
        self.workers = 1
        self.short = False
        self.closed = False  # whether its period is over
        self._requested = 0  # reserved since `_demand_at`
        self._demand = 0.0  # per second
        self._demand_at = self._used_at = now
        self._reported = (0, 0)  # taken and held, as the store has them
        self._origin = b""
        self._unanswered = False  # whether a call is under way, or its reply was lost: what it did is not known
        self._untaken: int | None = None  # by any worker in this period, when the store was found to be down
        self._local_used = 0

    def __repr__(self) -> str:
        return f"<Meter {self.taken} of {self.bound}: {self.free} free, {self.in_flight} in flight, {self.known} known>"

    @property
    def held(self) -> int:
        return self.free + self.in_flight

    @property
    def left(self) -> int:
        """What is left for this worker: its free part, and what no worker has taken."""
        return self._room + self.free

    @property
    def _room(self) -> int:
        """What no worker has taken."""
        return max(0, self.bound - self.sliding - self.total)

    @property
    def total(self) -> int:
        """Taken by all workers, as far as is known."""
        return max(self.known, self.taken)

    @property
    def settled(self) -> int:
        """What is used up for certain: neither free nor in flight, here or, as far as is known, elsewhere."""
        return max(0, self.total - self.held - self.others_held)

    def reserve(self, amount: int) -> bool:
        """Whether `amount` was free; it is in flight now."""
        if self.free < amount:
            return False
        self.free -= amount
        self.in_flight += amount
        self._requested += amount
        return True

    def rebind(self, bound: int) -> None:
        """Another bound. Under a lower one the share counts no more: it was granted under the bound before."""
        if bound < self.bound:
            self._return(self.free)
        self.bound = bound

    def follow(self, earlier: "Meter") -> None:
        """Starts with the demand and the workers of the period before."""
        self._demand, self._used_at, self.workers = earlier._demand, earlier._used_at, earlier.workers

    def exhausts(self, amount: int) -> bool:
        """Whether the bound is reached for certain: what is in flight or free anywhere would not be enough. What
        requests in flight reserved in the minute before counts as used."""
        return self.sliding + self.settled + amount > self.bound

    def slide(self, now: float) -> None:
        """What counts of the minute before at this time."""
        self.sliding = math.floor(self.before * self.period.left(now))

    def slide_on(self, earlier: "Meter", now: float) -> None:
        """Follows a meter of the minute before. What is free there is carried over, so that requests need not wait.

        Its weight in the minute before falls until the store knows, so it is carried over with the weight of then.
        """
        carried = math.floor(earlier.free * self.period.left(now + LATE))
        earlier._return(earlier.free)
        self._take(carried)
        self.before = earlier.total

    def fits_at(self, amount: int) -> float:
        """When so much is left of a limit per minute, if nothing else is taken. It does not fit before this time, and
        does after it."""
        start, end = self.period
        length = end - start
        taken = self.total - self.free
        rest = self.bound - taken - amount
        if rest >= 0:
            return end - length * min(1.0, (rest + 1) / max(1, self.before))
        return end + length - length * min(1.0, (self.bound - amount + 1) / max(1, taken))

    def empty_at(self) -> int:
        """When all of a limit per minute is left again, if nothing else is taken."""
        return self.period.end + (self.period.end - self.period.start if self.total else 0)

    def settle(self, reserved: int, used: int) -> None:
        """A request is over. It took `used`, which may be more than was reserved."""
        self.in_flight -= reserved
        self.free += reserved - used
        if self.free < 0:
            self._take(-self.free)

    def share_request(self, needed: int, smallest: int, now: float) -> ShareRequest | None:
        """What to send to the store; None if there is nothing to send. `needed` is the sum of the requests that wait,
        `smallest` the least of them."""
        target = self._target(now)
        if needed > self.free:
            if self.short and smallest > self.free:
                self._return(self.free)  # too little for any request here: together with others' it may be enough
            want, least = max(target, needed) - self.free, max(0, smallest - self.free)
        else:
            want, least = (target - self.free if 2 * self.free < target else 0), 0
            self._return(self.free - max(needed, 2 * target))
        if not (want or self.held or self._unanswered or self._reported != (self.taken, 0)):
            return None
        self._unanswered = True
        return ShareRequest(
            self.taken, self.held, self.known, want, least, self._reported[0], self._origin, self.before
        )

    def granted(self, request: ShareRequest, grant: Grant) -> None:
        """The store's reply to `request`."""
        self.taken += grant.granted
        self.free += grant.granted
        self.known = grant.total + self.taken - request.taken - grant.granted
        self.others_held = max(0, grant.held - request.held)
        self.workers = max(1, grant.workers)
        self.before = grant.before
        self.sliding = min(self.sliding, self.before)  # all of it may have been returned
        self.short = grant.short
        self._origin, self._unanswered = grant.origin, False
        self._reported = request.taken + grant.granted, request.held + grant.granted
        self._untaken, self._local_used = None, 0

    def grant_locally(self, needed: int, workers: int) -> bool:
        """Without the store: grants itself what is `needed` within its part of what was left when the store was seen
        last, of at least this many workers. The part grows while the minute before counts less and less."""
        if self._untaken is None:
            self._untaken = self.bound - self.total
        parts = LOCAL_PARTS * max(self.workers, workers)
        most = -(-max(0, self._untaken - self.sliding) // parts)
        lacking = needed - self.free
        if self._local_used + lacking > most:
            return False
        self._local_used += lacking
        self._take(lacking)
        return True

    def _take(self, amount: int) -> None:
        self.taken += amount
        self.free += amount
        if self.known != NEVER:
            self.known += amount

    def _return(self, surplus: int) -> None:
        if surplus > 0:
            self.taken -= surplus
            self.free -= surplus
            self.known = max(0, self.known - surplus)

    def _target(self, now: float) -> int:
        """What should be free: some seconds of demand, but never so much that others lack it."""
        elapsed = now - self._demand_at
        if self._requested:
            self._used_at = now
        if elapsed > 0:
            weight = min(1.0, elapsed / AHEAD)
            self._demand += weight * (self._requested / elapsed - self._demand)
            self._requested, self._demand_at = 0, now
        if self.short or self.closed or now - self._used_at > KEPT:
            return 0
        return min(round(self._demand * AHEAD), self.left // (SHARES * self.workers))
