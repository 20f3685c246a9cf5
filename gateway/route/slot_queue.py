"""Requests that wait for a place at endpoints at their `limits.concurrency`, of one model in one worker.

    every endpoint full, or a better one ──> waits up to `attempts.queue` ──> an attempt there ends: sent
                                                 │                            time is up: elsewhere, or a 503
                                                 ├── too many: the tenant with most waiting gives up its last one
                                                 └── standing: a tenant's newest replaces those that waited for `TURN`

As many may wait as places are expected to become free in that time: `concurrency` attempts end in the seconds that an
answer takes. This carries a burst. Under a lasting overload most would wait and be shed all the same. So a queue in
which requests keep waiting is *standing*, as in CoDel: a tenant then has one request waiting, briefly, and its others
are shed at once, if possible before their bodies are read (`turns_away`). No place stays empty.

No clock and no events here: the exchange that waits has the timer.
"""

from collections import deque
from math import inf
from typing import Any, NamedTuple, Protocol

from gateway.route.filters import Tier
from gateway.route.offers import HOUR
from gateway.route.plan import Choice, Plan

MORE_TENANTS = 16  # that may have one request waiting each, when the queue is full
SHORTEST = 0.01  # seconds that an answer takes at least
STANDING = 0.25  # seconds in which requests keep coming to wait, without a break as long
TURN = 0.02  # seconds that a tenant's request waits in a standing queue, where another one of the tenant comes after it


class Places(NamedTuple):
    """What a request waits for: a place at any of these endpoints. `most` may wait for it."""

    endpoints: frozenset[str]
    most: int


def line_for(plan: Plan) -> Places | None:
    """The endpoints that are worth a wait; None where the first one is, at once, the better choice.

    Where no endpoint is free, all that are full. Else those that are better than the first free one by the policy's
    order or by score, with the time of the wait counted against them.
    """
    first, wait = plan.first, plan.policy.attempts.queue
    if first is None or not wait or not plan.costs.field.any_busy or not _any_full(plan):
        return None
    full = [one for one in plan.ranked if one.tier is Tier.BUSY and one.state.full]
    if first.tier is Tier.BUSY:
        return Places(_ids(full), max(1, _frees(full, wait))) if full else None
    waiting = wait * plan.policy.score.value_of_time / HOUR
    better = [one for one in full if (one.rank, one.score + waiting) < (first.rank, first.score)]
    most = _frees(better, wait)
    return Places(_ids(better), most) if most else None


def _any_full(plan: Plan) -> bool:
    candidates = plan.costs.field.candidates
    return any(candidates[place].state.full for place in plan.places)


def _ids(choices: list[Choice]) -> frozenset[str]:
    return frozenset([one.endpoint.id for one in choices])


def _frees(choices: list[Choice], wait: float) -> int:
    """Places that are expected to become free within this time."""
    return int(sum(wait * one.state.concurrency / max(one.parts.seconds, SHORTEST) for one in choices))


class Waiter(Protocol):
    """An exchange that waits; told apart by identity."""

    def feed(self, event: Any) -> None:
        """Takes an event of `signals`."""


class Waiting(NamedTuple):
    waiter: Waiter
    endpoints: frozenset[str]
    since: float  # seconds


class SlotQueue:
    """By tenant, in the order of their turns. Tenants with nothing waiting are removed: it is as large as what waits.

    `size` requests wait, and `shed` have been rejected since the start.
    """

    __slots__ = ("_most", "_pushed_at", "_since", "_tenants", "shed", "size")

    def __init__(self) -> None:
        self._tenants: dict[str, deque[Waiting]] = {}
        self._since = 0.0  # when requests began to wait, with no break of `STANDING` since
        self._pushed_at = -inf
        self._most = 0  # that may wait, by the last request
        self.size = 0
        self.shed = 0

    def push(self, tenant: str, one: Waiting, most: int) -> list[Waiter]:
        """Adds one, if `most` may wait. Returns those that may not, this one or others.

        If there are too many, it is the last of the tenant with most waiting, if that has more than this one's tenant
        would have. A tenant's only one may wait in any case, as long as there are few of them.
        """
        if one.since - self._pushed_at > STANDING:
            self._since = one.since
        self._pushed_at, self._most = one.since, most
        line = self._tenants.setdefault(tenant, deque())
        line.append(one)
        self.size += 1
        losers = self._replaced(tenant, line) if self._is_standing(one.since) else []
        if self.size > most and (last := self._one_too_many(line, most)) is not None:
            self.remove(last)
            losers.append(last)
        return losers

    def turns_away(self, tenant: str, now: float) -> bool:
        """Whether one more request of this tenant would not wait, as far as that is known without the request."""
        line = self._tenants.get(tenant)
        if not line:
            return False
        if self._is_standing(now):
            return now - line[-1].since < TURN
        return self.size >= self._most and len(line) + 1 >= max(map(len, self._tenants.values()))

    def _is_standing(self, now: float) -> bool:
        return now - self._pushed_at <= STANDING < now - self._since

    def _replaced(self, tenant: str, line: deque[Waiting]) -> list[Waiter]:
        """The requests that waited for `TURN`, if another one of their tenant waits behind them."""
        latest = line[-1].since - TURN
        over = [one for one in line if one.since <= latest]
        for one in over:
            self._drop(tenant, line, one)
        return [one.waiter for one in over]

    def _one_too_many(self, line: deque[Waiting], most: int) -> Waiter | None:
        longest = max(self._tenants.values(), key=len)
        if len(longest) == 1 and self.size <= most + MORE_TENANTS:
            return None
        return (line if len(longest) <= len(line) else longest)[-1].waiter

    def pop(self, endpoint: str) -> Waiter | None:
        """The next one for a place at this endpoint; its tenant's next turn comes after all others'."""
        for tenant, line in self._tenants.items():
            for one in line:
                if endpoint in one.endpoints:
                    self._drop(tenant, line, one)
                    if line:
                        self._tenants[tenant] = self._tenants.pop(tenant)  # to the end
                    return one.waiter
        return None

    def remove(self, waiter: Waiter) -> None:
        """It no longer waits."""
        for tenant, line in self._tenants.items():
            for one in line:
                if one.waiter is waiter:
                    self._drop(tenant, line, one)
                    return

    def _drop(self, tenant: str, line: deque[Waiting], one: Waiting) -> None:
        line.remove(one)
        self.size -= 1
        if not line:
            del self._tenants[tenant]

    def __repr__(self) -> str:
        return f"<SlotQueue {self.size} of {len(self._tenants)} tenants>"
