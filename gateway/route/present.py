"""What holds at one endpoint now, as workers share it every second: in flight, rates, breaker.

    EndpointState ──own──> Present ──> other workers
    EndpointState <──merge── the Present of each other worker

Each worker publishes what its own requests showed, so that nothing is counted twice.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from gateway.route.endpoint_state import EndpointState
from gateway.route.health import BreakerChange
from gateway.route.posted import Posted
from gateway.route.ratelimit import Rates

FRESH = 10.0  # seconds that a number in flight holds: its worker may have ended with them


class Present(msgspec.Struct, array_like=True, frozen=True):
    """What one worker publishes of one endpoint."""

    in_flight: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 0
    rates: Rates | None = None
    breaker: BreakerChange | None = None


NOTHING = Present()


def own(state: EndpointState, now: float) -> Present | None:
    """What this worker knows, for others; None where that is nothing."""
    found = Present(state.in_flight, state.rate_limit.own(now), state.breaker.own(now))
    return None if found == NOTHING else found


def merge(state: EndpointState, others: Sequence[Posted[Present]], now: float) -> None:
    """Takes what each other worker knows, in place of what was known of them; one entry for each worker there is."""
    changes = [one.of(one.value.breaker) for one in others if one.value.breaker is not None]
    if state.breaker.merge(changes, now):
        state.starts_slowly()
    state.rate_limit.merge([one.of(one.value.rates) for one in others], now)
    state.hold(now)
    state.shares(sum(one.value.in_flight for one in others if one.age <= FRESH), len(others))
