"""Which endpoint that failed is retried within an exchange, and when.

    failure ──pause──> seconds, or none    503 with `Retry-After: 2` 2 s, a reset .5 s, then 1 s, 2 s
                          │
    another endpoint left │ `attempts.retries` of them, where waiting and retrying costs less than going there
    none is left          │ as long as the exchange has attempts and time

Transient: an error status, a connection that was refused or lost, an error in a 200, a 429. A host that
was silent, or refused the request, is not retried.
"""

from typing import NamedTuple

from gateway.route.offers import HOUR
from gateway.route.plan import Choice
from gateway.types import Failure, Policy

FIRST_PAUSE = 0.5  # seconds; it doubles with each retry at one endpoint
SPREAD = 0.2  # of a pause, up and down, so that requests that failed together do not retry together
SHORTEST_PAUSE = 0.1  # seconds, whatever a `Retry-After` says
LONGEST_PAUSE = 10.0  # seconds of a `Retry-After` that is waited out where nothing else is left
LONGEST_DETOUR = 3.0  # and where another endpoint is free at once
MOST_FAILS = 0.2  # expected share of failures from which an endpoint is not retried while another one is left
SOON = 5.0  # seconds from the send: a later failure is probably not transient
SUCCEEDS = 0.5  # share of first retries that succeed


class Again(NamedTuple):
    """An endpoint to retry, and the seconds until then."""

    choice: Choice
    pause: float


class _Failed(NamedTuple):
    choice: Choice
    ready_at: float
    passes_soon: bool  # whether it is worth a pause where another endpoint is free at once


class Retries:
    """The endpoints of one exchange that have failed. `jitter` is one draw in [0, 1). Times in seconds."""

    __slots__ = ("_failed", "_jitter", "_last", "_left", "_policy", "_times")

    def __init__(self, policy: Policy, jitter: float) -> None:
        self._policy = policy
        self._jitter = jitter
        self._left = policy.attempts.retries  # while other endpoints are left
        self._failed: dict[str, _Failed] = {}  # that may be retried, by endpoint
        self._times: dict[str, int] = {}  # that each of them has failed
        self._last: _Failed | None = None

    def failed(self, choice: Choice, failure: Failure, took: float, now: float) -> None:
        """An attempt at this endpoint failed after `took` seconds, before its answer began, or before it was whole."""
        self._last = None
        if not failure.fault.transient:
            return
        name, hinted = choice.endpoint.id, failure.retry_after is not None
        times = self._times[name] = self._times.get(name, 0) + 1
        backoff = FIRST_PAUSE * 2 ** (times - 1) * (1 - SPREAD + 2 * SPREAD * self._jitter)
        pause = backoff if failure.retry_after is None else max(failure.retry_after, SHORTEST_PAUSE)
        passes_soon = hinted or (failure.fault.passes_soon and took <= SOON)
        self._last = self._failed[name] = _Failed(choice, now + pause, passes_soon)

    def next(self, other: Choice | None, alone: bool, now: float) -> Again | None:
        """The retry in place of `other`, the best endpoint without an attempt. `alone`: there is no other
        endpoint, nor another model, for this request."""
        if alone:
            soonest = min(self._failed.values(), key=_ready_at, default=None)
            return None if soonest is None else _again(soonest, now, LONGEST_PAUSE)
        if self._last is None or self._left < 1 or not self._pays(self._last, other, now):
            return None
        return _again(self._last, now, LONGEST_DETOUR)

    def sent(self, choice: Choice, alone: bool) -> None:
        """The retry was sent."""
        self._left -= not alone
        self._failed.pop(choice.endpoint.id, None)

    def _pays(self, one: _Failed, other: Choice | None, now: float) -> bool:
        choice = one.choice
        if not one.passes_soon or choice.parts.fails > MOST_FAILS or not choice.state.breaker.allows(now):
            return False
        return other is None or self._cost(choice, one.ready_at - now) < self._cost(other, 0.0)

    def _cost(self, choice: Choice, pause: float) -> tuple[int, float, float]:
        """By tier and rank, then by the dollars of the request and of waiting, which is lost if it fails again."""
        waiting = pause * self._policy.score.value_of_time / HOUR / SUCCEEDS
        return choice.tier, choice.rank, choice.score + waiting

    def __repr__(self) -> str:
        return f"<Retries {list(self._failed)}>"


def _again(one: _Failed, now: float, longest: float) -> Again | None:
    pause = max(0.0, one.ready_at - now)
    return Again(one.choice, pause) if pause <= longest else None


def _ready_at(one: _Failed) -> float:
    return one.ready_at
