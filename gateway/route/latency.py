"""Limits on latency, judged at what one request is expected to meet at one endpoint.

    ttft_p95        the endpoint's own p95 at the size of what it has to read of this prompt, at its load now
    throughput_p50  the speed that half of its answers reach, at its load now

Where an endpoint has few samples, the published figure or the median of its peers counts. A limit under
`require` drops an endpoint, one under `slo` puts it behind. Under `prefer` and `slo` each second over it costs dollars,
so that of those which miss one the nearest is best. Slow writing is counted in seconds as well: how much longer the
expected answer takes than at the limit.
"""

from math import inf
from typing import NamedTuple

from gateway.route.endpoint_state import EndpointState
from gateway.route.speeds import SHARES as SPEED_SHARES
from gateway.route.waits import SHARES as WAIT_SHARES
from gateway.types import Limit, Measure

TTFT: dict[Measure, int] = {f"ttft_p{100 * share:.0f}": place for place, share in enumerate(WAIT_SHARES)}  # type: ignore[misc]
THROUGHPUT: dict[Measure, int] = {
    f"throughput_p{100 * (1 - share):.0f}": place  # type: ignore[misc]
    for place, share in enumerate(SPEED_SHARES)
}


class Preference(NamedTuple):
    """A preferred limit, with one endpoint's figure."""

    ratios: tuple[float, ...]  # to first token, by size class; empty for a limit on speed
    speed: float  # output tokens a second
    limit: float
    upper: bool  # whether the figure should be at most the limit

    def reach(self, size: int) -> float:
        """What each second of pace at this size class is of the limit; infinite for a lower limit on time."""
        if not self.ratios:
            return 0.0
        return self.ratios[size] / self.limit if self.upper and self.limit > 0 else inf

    @property
    def slowness(self) -> float:
        """The limit on speed over the figure; infinite for an upper one."""
        if self.ratios or not self.limit:
            return 0.0
        return inf if self.upper else self.limit / self.speed


def is_latency(limit: Limit) -> bool:
    """Whether a limit is judged for each request."""
    return limit.measure in TTFT or limit.measure in THROUGHPUT


def preferences(state: EndpointState, limits: tuple[Limit, ...]) -> tuple[Preference, ...]:
    """What this endpoint brings to those of these limits that are about latency."""
    found = []
    for limit in limits:
        upper = limit.operator == "<="
        if limit.measure in TTFT:
            found.append(Preference(state.waits.quantiles[TTFT[limit.measure]], 0.0, limit.value, upper))
        elif limit.measure in THROUGHPUT:
            found.append(Preference((), state.speeds.quantiles[THROUGHPUT[limit.measure]], limit.value, upper))
    return tuple(found)


def seconds_over(preferred: tuple[Preference, ...], size: int, pace: float, slowed: float, output: float) -> float:
    """Seconds by which a request with that size class, pace and expected output misses all of these, added up."""
    over = 0.0
    for ratios, speed, limit, upper in preferred:
        if ratios:
            more = ratios[size] * pace - limit
        elif limit:
            more = output / limit - output * slowed / speed
        else:
            continue
        if not upper:
            more = -more
        if more > 0:
            over += more
    return over


def expected(state: EndpointState, measure: Measure, size: int, pace: float) -> float:
    """What a request of that size class and pace meets at this endpoint: seconds, or tokens a second."""
    place = TTFT.get(measure)
    if place is not None:
        return state.waits.quantiles[place][size] * pace
    return state.speeds.quantiles[THROUGHPUT[measure]] / state.load.slowed
