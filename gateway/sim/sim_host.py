"""Simulated hosts: prices, speed and reliability.

Pure: randomness comes in as a `random.Random`, so that the servers (`host.py`) and virtual time can share one fleet.
"""

import math
from dataclasses import dataclass, field
from random import Random

from gateway.types import Dialect, Price
from gateway.types.endpoint import Capability, Quantization
from gateway.types.units import Seconds, Share

MODEL = "deepseek/deepseek-v3.2"
Z90 = 1.2816  # the normal distribution's p90, in standard deviations
TAIL = 0.01  # share of draws around the measured p99
TAIL_SIGMA = 0.15
TYPICAL_UNCACHED = 3_500  # uncached prompt tokens of the mean request behind the measured TTFT
LEAST_TTFT = 0.3  # share of a drawn TTFT that remains without prefill
CUT_SHARE = 0.2  # assumed share of failures that break a stream instead of rejecting the request


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Share of requests that end in each fault."""

    rate_limited: float
    server_error: float
    cut: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Measured percentiles of one quantity. `p99` is unknown for throughput, whose slow tail is not published."""

    p50: float
    p90: float
    p99: float | None = None

    def draw(self, rng: Random) -> float:
        """One log-normal draw with this p50 and p90."""
        return rng.lognormvariate(math.log(self.p50), math.log(self.p90 / self.p50) / Z90)


@dataclass(frozen=True, slots=True)
class Wait(Spread):
    """Measured percentiles of a time."""

    p50: Seconds
    p90: Seconds
    p99: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Incidents:
    """How often a host has an outage, and its median length. Most are partial."""

    every: Seconds
    median: Seconds


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A host that slows down: with `n` requests in flight, everything takes 1 + (n - free) / per times as long."""

    free: int
    per: float

    def factor(self, in_flight: int) -> float:
        return 1 + max(0, in_flight - self.free) / self.per


@dataclass(frozen=True, slots=True)
class SimHost:
    """One simulated host. Times in seconds, throughput in output tokens/s, prefill in prompt tokens/s.

    `hit_efficiency`: how often a cached prefix is used; 0 is a host that advertises a discount and never gives it.
    `uptime` and `rates` are its everyday reliability; `incidents` come on top. Without `load`, its speed does not
    depend on its requests in flight. Without `published`, no figures of it are known. `usage_chunk`: usage comes in an
    extra chunk (`choices: []`) when requested, instead of always on the finish chunk.
    """

    id: str
    name: str
    price: Price
    ttft: Wait
    throughput: Spread
    uptime: Share
    rates: FaultRates
    dialect: Dialect = field(default_factory=Dialect)
    hit_efficiency: Share = 1.0
    cache_ttl: Seconds = 300.0
    incidents: Incidents | None = None
    load: Slowdown | None = None
    published: bool = True
    usage_chunk: bool = True
    context: int = 163_840
    quantization: Quantization = "fp8"
    tools_ok: Share | None = None
    prefill: float = 8_000.0
    supports: tuple[Capability, ...] = ("tools", "tool_choice", "json_object", "json_schema", "seed", "logprobs")

    @property
    def provider(self) -> str:
        return self.id.partition("/")[0]


def split_failures(uptime: float, rate_limited: float) -> FaultRates:
    """Splits the failures implied by `uptime` into errors and cuts. 429s are not part of uptime, so they come on
    top."""
    failures = 1 - uptime
    return FaultRates(rate_limited, failures * (1 - CUT_SHARE), failures * CUT_SHARE)


def draw_ttft(rng: Random, host: SimHost, uncached_tokens: int) -> float:
    """Seconds to the first token of one request with `uncached_tokens` to prefill.

    The measured spread belongs to requests of `TYPICAL_UNCACHED` tokens; a draw is shifted by the prefill of the
    difference. The fitted curve overshoots the measured p99 on some hosts, so it is cut there, and `TAIL` of the draws
    lie around it.
    """
    p99 = host.ttft.p99 or math.inf
    drawn = min(host.ttft.draw(rng), p99)
    if rng.random() < TAIL and p99 < math.inf:
        drawn = rng.lognormvariate(math.log(p99), TAIL_SIGMA)
    return max(drawn * LEAST_TTFT, drawn + (uncached_tokens - TYPICAL_UNCACHED) / host.prefill)


def draw_speed(rng: Random, host: SimHost) -> float:
    """Output tokens per second of one request, after its first token."""
    return host.throughput.draw(rng)
