"""How much load a subject carries while it adds little delay: `rates` and `held`.

    rates    requests/s of 1 KB that come evenly      p99 of the time from when a request was to be sent to its answer
    held     streams, an event each 40 ms             p99 of an event's way from the host to the client

What a subject adds is its p99 less that of the host alone under the same load. A load is a step of a scale, four steps
double it, and the highest step is found by bisection. The host's own limit is the scale's end: a subject that
reaches it may carry more.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.load import Call, Load, quantile, run
from bench.steady import Arrivals, Held

UNDER = {f"under_{limit}_ms": limit / 1000 for limit in (1, 5, 10, 50)}  # seconds of added p99
WITHIN = 0.005  # seconds; the scale ends where the host alone is slower
PER_OCTAVE = 4  # steps that double a load
TRIES = 3  # of a step that seems too much: other work on the machine only ever adds delay
SEARCH = 60.0  # seconds that a search on one subject may take
FIRST = 0.25  # share of a run that is warm-up


@dataclass(frozen=True, slots=True)
class Scale:
    """A kind of load. `least` is that of step 0; a run takes `seconds`, streams take them in `chunks`."""

    name: str
    least: int
    last_step: int
    seconds: float
    chunks: int = 0

    def size(self, step: int) -> int:
        return round(self.least * 2 ** (step / PER_OCTAVE))

    @property
    def behaviour(self) -> Mapping[str, Any]:
        """The host's, so that streams last three quarters of a run."""
        interval = self.seconds * 0.75 / self.chunks if self.chunks else 0.0
        return {"chunks": self.chunks or 1, "interval": interval, "stamped": True}

    def load(self, call: Call, step: int) -> Load:
        size = self.size(step)
        return Held(call, size, self.seconds) if self.chunks else Arrivals(call, size, self.seconds)


SCALES = {
    scale.name: scale
    for scale in (
        Scale("rates", least=15, last_step=48, seconds=1.25),
        Scale("held", least=5, last_step=40, seconds=2.0, chunks=37),
    )
}
QUICK = {
    "rates": Scale("rates", least=50, last_step=8, seconds=0.3),
    "held": Scale("held", least=2, last_step=8, seconds=0.4, chunks=7),
}


def p99(scale: Scale, call: Call, step: int) -> float:
    """Seconds, of the run after its warm-up; infinite when not all was answered."""
    result = run(scale.load(call, step))
    values = result.ways if scale.chunks else result.latencies
    return math.inf if result.errors or not values else quantile(values[int(FIRST * len(values)) :], 0.99)


def highest(holds: Callable[[int], bool], last: int) -> int:
    """The highest step up to `last` that holds, by bisection; -1 when none is found."""
    low, high = -1, last + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@dataclass(slots=True)
class Curve:
    """The least delay that was measured at each step, by `measure`, until `clock` says `until`."""

    measure: Callable[[int], float]
    until: float = math.inf
    clock: Callable[[], float] = time.monotonic
    tries: dict[int, list[float]] = field(default_factory=dict)

    def under(self, step: int, limit: float) -> bool:
        """Whether the delay at this step is within `limit`; a step that seems not to be is tried again."""
        tried = self.tries.setdefault(step, [])
        while min(tried, default=math.inf) > limit and len(tried) < TRIES and self.clock() < self.until:
            tried.append(self.measure(step))
        return min(tried, default=math.inf) <= limit


@dataclass
class Floor:
    """The host alone: its p99 at a step, and the last step at which it is not itself what is slow (`WITHIN`)."""

    scale: Scale
    call: Call
    curve: Curve = field(init=False)

    def __post_init__(self) -> None:
        self.curve = Curve(lambda step: p99(self.scale, self.call, step))

    def delay(self, step: int) -> float:
        self.curve.under(step, WITHIN)
        return min(self.curve.tries[step])

    @cached_property
    def last(self) -> int:
        return max(0, highest(lambda step: self.curve.under(step, WITHIN), self.scale.last_step))


def frontier(scale: Scale, call: Call, floor: Floor, within: float = SEARCH) -> dict[str, Any]:
    """The greatest load for each limit, as `under_5_ms`; `end` is where the host itself ends."""
    end = floor.last
    curve = Curve(lambda step: p99(scale, call, step) - floor.delay(step), time.monotonic() + within)
    record: dict[str, Any] = {"errors": 0, "end": scale.size(end)}
    for name, limit in UNDER.items():
        step = highest(lambda step, limit=limit: curve.under(step, limit), end)  # type: ignore[misc]
        record[name] = scale.size(step) if step >= 0 else 0
    return record
