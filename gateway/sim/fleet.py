"""The simulated hosts: who they are, what they charge, how fast and how reliable they are.

Price, TTFT, throughput, uptime and cache hits are public measurements of DeepSeek-V3.2 hosts (2026-08-25 to
2026-09-01). What was never published is assumed and named so: prefill speed, cache lifetime, 429 rates, the split of
failures into errors and cuts, and the dialects of hosts that document none.

Pure: chance comes in as a `random.Random`, so the servers (`host.py`) and virtual time can share one fleet.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import yaml

from gateway.types import Dialect, Price
from gateway.types.endpoint import Quantization
from gateway.types.units import Seconds, Share

MODEL = "deepseek/deepseek-v3.2"
Z90 = 1.2816  # the normal distribution's p90, in standard deviations
TAIL = 0.01  # share of draws that come from around the measured p99
TAIL_SIGMA = 0.15
TYPICAL_UNCACHED = 3_500  # uncached prompt tokens of the mean request behind the measured TTFT
LEAST_TTFT = 0.3  # share of a drawn TTFT that remains when nothing needs prefill
BEST_HIT = 0.62  # the best host's measured hit share: taken as all that the traffic allowed
CUT_SHARE = 0.2  # assumed share of failures that break a stream instead of refusing the request
MEASURED = "2026-09-01"


@dataclass(frozen=True, slots=True)
class Rates:
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
        """One log-normal draw that has this p50 and p90."""
        return rng.lognormvariate(math.log(self.p50), math.log(self.p90 / self.p50) / Z90)


@dataclass(frozen=True, slots=True)
class Wait(Spread):
    """Measured percentiles of a time."""

    p50: Seconds
    p90: Seconds
    p99: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Incidents:
    """How often a host has an outage, and the median length of one. Most are partial."""

    every: Seconds
    median: Seconds


@dataclass(frozen=True, slots=True)
class SimHost:
    """One simulated host. Times in seconds, throughput in output tokens/s, prefill in prompt tokens/s.

    `hit_efficiency` is how often a prefix that the host does hold is honoured: 0 is a host that advertises a discount
    and never gives it. `uptime` and `rates` are what happens every day; `incidents` come on top. `usage_chunk` says
    that usage comes in an extra chunk (`choices: []`) when asked for, instead of always on the finish chunk.
    """

    id: str
    name: str
    price: Price
    ttft: Wait
    throughput: Spread
    uptime: Share
    rates: Rates
    dialect: Dialect = field(default_factory=Dialect)
    hit_efficiency: Share = 1.0
    cache_ttl: Seconds = 300.0
    incidents: Incidents | None = None
    usage_chunk: bool = True
    context: int = 163_840
    quantization: Quantization = "fp8"
    tools_ok: Share | None = None
    prefill: float = 8_000.0
    supports: tuple[str, ...] = ("tools", "tool_choice", "json_object", "json_schema", "seed", "logprobs")

    @property
    def provider(self) -> str:
        return self.id.partition("/")[0]


def _price(input_: float, cached: float, output: float) -> Price:
    return Price(input=input_, cached_input=cached, output=output, as_of=MEASURED)


def split_failures(uptime: float, rate_limited: float = 0.005) -> Rates:
    """Split what `uptime` leaves over into errors and cuts. 429s are no part of uptime, so they come on top."""
    failures = 1 - uptime
    return Rates(rate_limited, failures * (1 - CUT_SHARE), failures * CUT_SHARE)


NO_SCHEMA = ("tools", "tool_choice", "json_object", "seed", "logprobs")

FLEET: tuple[SimHost, ...] = (
    SimHost(
        id="sim-novita/fp8",
        name="NovitaAI (simulated)",
        price=_price(0.269, 0.1345, 0.40),
        ttft=Wait(1.23, 2.23, 5.8),
        throughput=Spread(26, 41),
        uptime=0.9993,
        rates=split_failures(0.9993),
        dialect=Dialect(thinking="chat_template_kwargs.thinking", thinking_default="off"),
        hit_efficiency=0.40 / BEST_HIT,
    ),
    SimHost(
        id="sim-streamlake/fp8",
        name="StreamLake (simulated)",
        price=_price(0.2145, 0.0215, 0.3218),
        ttft=Wait(1.35, 2.71, 9.4),
        throughput=Spread(24, 34),
        uptime=0.9923,
        rates=split_failures(0.9923),
        dialect=Dialect(thinking="thinking.type", thinking_default="off", null_usage=True),
        hit_efficiency=1.0,
        cache_ttl=3600.0,
        usage_chunk=False,
        context=128_000,
    ),
    SimHost(
        id="sim-atlas-cloud/fp8",
        name="AtlasCloud (simulated)",
        price=_price(0.26, 0.13, 0.38),
        ttft=Wait(1.57, 2.43, 5.1),
        throughput=Spread(9, 31),
        uptime=0.9990,
        rates=split_failures(0.9990),
        dialect=Dialect(thinking="enable_thinking|reasoning_effort", thinking_default="off"),
        hit_efficiency=0.515 / BEST_HIT,
    ),
    SimHost(
        id="sim-baidu/fp8",
        name="Baidu Qianfan (simulated)",
        price=_price(0.28, 0.028, 0.42),
        ttft=Wait(1.01, 1.48, 3.0),
        throughput=Spread(38, 56),
        uptime=0.9999,
        rates=split_failures(0.9999),
        dialect=Dialect(thinking="thinking.type", thinking_default="off", null_usage=True),
        hit_efficiency=0.56 / BEST_HIT,
        cache_ttl=3600.0,
        usage_chunk=False,
        context=131_072,
    ),
    SimHost(
        id="sim-friendli",
        name="Friendli (simulated)",
        price=_price(0.50, 0.25, 1.50),
        ttft=Wait(0.42, 2.80, 6.7),
        throughput=Spread(41, 80),
        uptime=0.9997,
        rates=split_failures(0.9997, rate_limited=0.02),
        dialect=Dialect(thinking="chat_template_kwargs.enable_thinking", thinking_default="off"),
        hit_efficiency=0.52 / BEST_HIT,
        quantization="unknown",
        prefill=16_000.0,
    ),
    SimHost(
        id="sim-siliconflow/fp8",
        name="SiliconFlow (simulated)",
        price=_price(0.259, 0.135, 0.42),
        ttft=Wait(1.99, 3.39, 8.0),
        throughput=Spread(26, 32),
        uptime=0.9905,
        rates=split_failures(0.9905),
        dialect=Dialect(thinking="enable_thinking", thinking_default="on"),
        hit_efficiency=0.45 / BEST_HIT,
        supports=NO_SCHEMA,
    ),
    SimHost(
        id="sim-gmicloud/fp8",
        name="GMICloud (simulated)",
        price=_price(0.2088, 0.0216, 0.3096),
        ttft=Wait(2.16, 4.37, 13.3),
        throughput=Spread(22, 45),
        uptime=0.9712,
        rates=split_failures(0.9712),
        dialect=Dialect(thinking="unknown", thinking_default="off"),
        hit_efficiency=0.50 / BEST_HIT,
        supports=NO_SCHEMA,
    ),
    SimHost(
        id="sim-deepinfra/fp4",
        name="DeepInfra (simulated)",
        price=_price(0.26, 0.13, 0.38),
        ttft=Wait(0.86, 2.41, 7.7),
        throughput=Spread(26, 44),
        uptime=0.9955,
        rates=split_failures(0.9955, rate_limited=0.02),
        dialect=Dialect(thinking="reasoning_effort", thinking_default="off"),
        hit_efficiency=0.245 / BEST_HIT,
        quantization="fp4",
    ),
    SimHost(
        id="sim-alibaba",
        name="Alibaba Int. (simulated)",
        price=_price(0.3705, 0.0741, 1.1115),
        ttft=Wait(0.85, 1.91, 10.9),
        throughput=Spread(38, 52),
        uptime=0.9923,
        rates=split_failures(0.9923),
        dialect=Dialect(thinking="enable_thinking", thinking_default="off"),
        hit_efficiency=0.415 / BEST_HIT,
        context=131_072,
        quantization="unknown",
    ),
    SimHost(
        id="sim-digitalocean",
        name="DigitalOcean (simulated)",
        price=_price(0.25, 0.075, 0.80),
        ttft=Wait(0.97, 4.31, 12.0),
        throughput=Spread(22, 68),
        uptime=0.9676,
        rates=split_failures(0.9676),
        dialect=Dialect(thinking="reasoning_effort", thinking_default="off", reasoning_field="reasoning"),
        hit_efficiency=0.515 / BEST_HIT,
        quantization="unknown",
    ),
)


def draw_ttft(rng: Random, host: SimHost, uncached_tokens: int) -> float:
    """Seconds to the first token of one request whose prompt has `uncached_tokens` left to read.

    The measured spread belongs to requests of `TYPICAL_UNCACHED` tokens; more or fewer move a draw by their prefill.
    The fitted curve overshoots the measured p99 on some hosts, so it ends there, and `TAIL` of draws lie around it.
    """
    p99 = host.ttft.p99 or math.inf
    drawn = min(host.ttft.draw(rng), p99)
    if rng.random() < TAIL and p99 < math.inf:
        drawn = rng.lognormvariate(math.log(p99), TAIL_SIGMA)
    return max(drawn * LEAST_TTFT, drawn + (uncached_tokens - TYPICAL_UNCACHED) / host.prefill)


def draw_speed(rng: Random, host: SimHost) -> float:
    """Output tokens per second of one request, after its first token."""
    return host.throughput.draw(rng)


def gateway_config(addresses: Mapping[str, str]) -> str:
    """The `gateway.yaml` that serves the model from simulated hosts alone.

    `addresses` maps an endpoint id to the address of its server, `http://127.0.0.1:PORT`. `catalogue: false` keeps
    the real hosts of the shipped catalogue out.
    """
    endpoints = [_endpoint(host, addresses[host.id]) for host in FLEET if host.id in addresses]
    model = {
        "name": "DeepSeek V3.2 (simulated hosts)",
        "context": 163_840,
        "created": 1764547200,
        "aliases": ["deepseek-v3.2", "deepseek-chat", "deepseek-reasoner"],
        "endpoints": endpoints,
    }
    return yaml.safe_dump({"catalogue": False, "models": {MODEL: model}}, sort_keys=False, width=120)


def _endpoint(host: SimHost, address: str) -> dict[str, Any]:
    price, dialect = host.price, host.dialect
    return {
        "id": host.id,
        "provider": host.provider,
        "name": host.name,
        "status": "self_hosted",
        "base_url": f"{address}/v1",
        "model": MODEL,
        "price": {
            "input": price.input,
            "cached_input": price.cached_input,
            "output": price.output,
            "as_of": price.as_of,
        },
        "context": host.context,
        "max_output": 65_536,
        "quantization": host.quantization,
        "supports": list(host.supports),
        "dialect": {
            "thinking": dialect.thinking,
            "thinking_default": dialect.thinking_default,
            "reasoning_field": dialect.reasoning_field,
            "null_usage": dialect.null_usage,
        },
        "cache": {"automatic": True, "ttl": f"{host.cache_ttl:g}s"},
        "cancel": "stops",
        "priors": {
            "ttft_p50": f"{host.ttft.p50:g}s",
            "throughput_p50": host.throughput.p50,
            "uptime": f"{host.uptime * 100:.2f}%",
            "as_of": MEASURED,
        },
    }
