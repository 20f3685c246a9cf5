"""Changes of simulated hosts during a replay: a host slows down, stops caching, stops answering, joins, changes its
price.

    SimHost ──HostChange, HostChange──> phases:   0 s ─ unchanged ─ 1200 s ─ TTFT x 3 ─ 1700 s ─ unchanged ─>

A change does not affect the random draws: those of a request depend on the seed, so two replays with and without a
change differ only by the change.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from gateway.sim.sim_host import SimHost, Spread, Wait
from gateway.types import Price
from gateway.types.units import Seconds, Share


@dataclass(frozen=True, slots=True)
class HostChange:
    """The differences of one host from `start` to `end`, in seconds of the replay.

    `ttft` and `speed` are factors on times to first token, prefill included, and on output speeds; `hit_efficiency` and
    `errors` (the share of requests with an error status) replace the host's own. While it is `silent` no first token
    comes; while it is `absent` it is missing in the gateway's configuration. A `price` applies to its bills and to the
    gateway's configuration.
    """

    host: str
    start: Seconds
    end: Seconds = inf
    ttft: float = 1.0
    speed: float = 1.0
    hit_efficiency: Share | None = None
    errors: Share | None = None
    silent: bool = False
    absent: bool = False
    price: Price | None = None

    def of(self, host: SimHost) -> SimHost:
        """The host during the change. The factor on TTFT includes prefill."""
        wait, spread, rates = host.ttft, host.throughput, host.rates
        p99 = None if wait.p99 is None else wait.p99 * self.ttft
        return replace(
            host,
            ttft=Wait(wait.p50 * self.ttft, wait.p90 * self.ttft, p99),
            prefill=host.prefill / self.ttft,
            throughput=Spread(spread.p50 * self.speed, spread.p90 * self.speed),
            hit_efficiency=host.hit_efficiency if self.hit_efficiency is None else self.hit_efficiency,
            rates=rates if self.errors is None else replace(rates, server_error=self.errors),
            price=self.price or host.price,
        )


class Phase(NamedTuple):
    """A host between two changes."""

    host: SimHost
    silent: bool = False
    absent: bool = False


class Phases:
    """One host over time."""

    __slots__ = ("_phases", "_starts")

    def __init__(self, host: SimHost, changes: Iterable[HostChange]) -> None:
        own = [one for one in changes if one.host == host.id]
        self._starts = sorted({time for one in own for time in (one.start, one.end) if time < inf})
        self._phases = [Phase(host), *(_phase(host, own, start) for start in self._starts)]

    def at(self, now: float) -> Phase:
        return self._phases[bisect_right(self._starts, now)] if self._starts else self._phases[0]

    def __repr__(self) -> str:
        return f"<Phases of {self._phases[0].host.id}, from {self._starts}>"


def _phase(host: SimHost, changes: Iterable[HostChange], now: float) -> Phase:
    silent = absent = False
    for one in changes:
        if one.start <= now < one.end:
            host = one.of(host)
            silent, absent = silent or one.silent, absent or one.absent
    return Phase(host, silent, absent)


def reconfigured(changes: Iterable[HostChange]) -> list[float]:
    """The times at which the gateway's configuration changes, in order."""
    known = [one for one in changes if one.absent or one.price]
    return sorted({time for one in known for time in (one.start, one.end) if time < inf})
