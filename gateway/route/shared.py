"""What workers share of one endpoint: `Measured` every 5 s, `Present` every second.

    EndpointState ──own──> Present, Measured ──> other workers
    EndpointState <──merge── those of each other worker

Each worker publishes what its own requests showed, so that nothing is counted twice.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from gateway.route.breaker import BreakerChange
from gateway.route.endpoint_state import EndpointState
from gateway.route.posted import Posted
from gateway.route.ratelimit import Rates
from gateway.route.sketch import BUCKETS

FRESH = 10.0  # seconds that a number in flight holds: its worker may have ended with them
SKETCHES = 6  # of an endpoint
RATES = 46

_Bucket = Annotated[int, msgspec.Meta(ge=0, lt=BUCKETS)]
_Hundredths = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Signed = Annotated[int, msgspec.Meta(ge=-(10**9), le=10**9)]
Counts = dict[_Bucket, _Hundredths]
Shares = tuple[_Hundredths, _Hundredths]
_Mean = tuple[_Signed, _Hundredths]


class Measured(msgspec.Struct, array_like=True):
    """The samples that one worker has of an endpoint: `own` of its sketches and rates, in the state's order."""

    sketches: Annotated[list[Counts], msgspec.Meta(min_length=SKETCHES, max_length=SKETCHES)]
    rates: Annotated[list[_Mean], msgspec.Meta(min_length=RATES, max_length=RATES)]


class Present(msgspec.Struct, array_like=True, frozen=True):
    """What holds at an endpoint now, as far as one worker's requests showed it: in flight, rates, breaker."""

    in_flight: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 0
    rates: Rates | None = None
    breaker: BreakerChange | None = None


NOTHING = Present()


def own_measured(state: EndpointState, now: float) -> Measured:
    """This worker's samples, for others."""
    return Measured([one.own(now) for one in state.sketches], [one.own(now) for one in state.rates])


def merge_measured(state: EndpointState, others: Sequence[tuple[Measured, float]], now: float) -> None:
    """Replaces the other workers' samples: (samples, their age in seconds), one entry for each worker there is."""
    for place, sketch in enumerate(state.sketches):
        sketch.merge([(one.sketches[place], age) for one, age in others], now)
    for place, rate in enumerate(state.rates):
        rate.merge([(one.rates[place], age) for one, age in others], now)
    state.renew(now)


def own_present(state: EndpointState, now: float) -> Present | None:
    """What this worker knows, for others; None where that is nothing."""
    found = Present(state.in_flight, state.rate_limit.own(now), state.breaker.own(now))
    return None if found == NOTHING else found


def merge_present(state: EndpointState, others: Sequence[Posted[Present]], now: float) -> None:
    """Replaces what the other workers published before; one entry for each worker there is."""
    changes = [one.of(one.value.breaker) for one in others if one.value.breaker is not None]
    if state.breaker.merge(changes, now):
        state.starts_slowly()
    state.rate_limit.merge([one.of(one.value.rates) for one in others], now)
    state.hold(now)
    state.shares(sum(one.value.in_flight for one in others if one.age <= FRESH), len(others))
