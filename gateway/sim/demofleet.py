"""The hosts of the demo: ten measured ones, each with its own dialect.

    fleet-wide.yaml ──price, TTFT, throughput, uptime──┐
    this file ──dialect, cache hits, quirks────────────┴──> FLEET ──addresses──> gateway.yaml

Cache hits are public measurements of 2026-08-25 to 2026-09-01. Cache lifetimes, prefill speed, and undocumented
dialects are assumptions. There are no outages: a demo is short.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gateway.policy.policies import shipped_folder
from gateway.sim.fleetfile import read_fleet
from gateway.sim.sim_host import MODEL, SimHost
from gateway.types import Dialect

BEST_HIT = 0.62  # the highest measured hit share, assumed to be the maximum that the traffic allowed
NO_SCHEMA = ("tools", "tool_choice", "json_object", "seed", "logprobs")
PINNED = "novita/fp8"  # the endpoint of the shipped policy `pinned`
PRIVATE = "sim-friendli"  # declares zero data retention, which is true of a simulation
LIMITS = {  # of apps of the demo's traffic, which does not reach them
    "Support desk": {"usd_per_day": "$150"},
    "Code review": {"usd_per_month": "$3000"},
    "Nightly report": {"usd_per_month": "$2000"},
}
_MEASURED = {host.id: host for host in read_fleet("wide")}


def _simulated(measured: str, hit: float, dialect: Dialect, cache_ttl: float = 300.0, **quirks: Any) -> SimHost:
    """A measured host under another name. `hit` is its measured share of cached prompt tokens."""
    host = _MEASURED[measured]
    return replace(
        host,
        id=f"sim-{host.id}",
        name=f"{host.name} (simulated)",
        dialect=dialect,
        hit_efficiency=hit / BEST_HIT,
        cache_ttl=cache_ttl,
        incidents=None,
        **quirks,
    )


FLEET: tuple[SimHost, ...] = (
    _simulated("novita/fp8", 0.40, Dialect(thinking="chat_template_kwargs.thinking", thinking_default="off")),
    _simulated(
        "streamlake/fp8",
        BEST_HIT,
        Dialect(thinking="thinking.type", thinking_default="off", null_usage=True),
        cache_ttl=3600.0,
        usage_chunk=False,
    ),
    _simulated("atlas-cloud/fp8", 0.515, Dialect(thinking="enable_thinking|reasoning_effort", thinking_default="off")),
    _simulated(
        "baidu/fp8",
        0.56,
        Dialect(thinking="thinking.type", thinking_default="off", null_usage=True),
        cache_ttl=3600.0,
        usage_chunk=False,
    ),
    _simulated(
        "friendli",
        0.52,
        Dialect(thinking="chat_template_kwargs.enable_thinking", thinking_default="off"),
        prefill=16_000.0,
    ),
    _simulated("siliconflow/fp8", 0.45, Dialect(thinking="enable_thinking", thinking_default="on"), supports=NO_SCHEMA),
    _simulated("gmicloud/fp8", 0.50, Dialect(thinking="unknown", thinking_default="off"), supports=NO_SCHEMA),
    _simulated("deepinfra/fp4", 0.245, Dialect(thinking="reasoning_effort", thinking_default="off")),
    _simulated("alibaba", 0.415, Dialect(thinking="enable_thinking", thinking_default="off"), quantization="unknown"),
    _simulated(
        "digitalocean", 0.515, Dialect(thinking="reasoning_effort", thinking_default="off", reasoning_field="reasoning")
    ),
)


def seed_policies(folder: Path) -> None:
    """Copies the shipped policies to a new folder, with `pinned` changed to a host of the demo."""
    shutil.copytree(shipped_folder(), folder)
    pinned = folder / "pinned.yaml"
    pinned.write_text(pinned.read_text(encoding="utf-8").replace(PINNED, f"sim-{PINNED}"), encoding="utf-8")


def gateway_config(addresses: Mapping[str, str], names: Sequence[str] = ()) -> str:
    """The `gateway.yaml` that serves the model only from simulated hosts.

    `addresses` maps endpoint ids to the URLs of their servers, `http://127.0.0.1:PORT`; `names` are its
    `allowed_hosts`. `catalogue: false` leaves out the real hosts of the shipped catalogue.
    """
    endpoints = [_endpoint(host, addresses[host.id]) for host in FLEET if host.id in addresses]
    model = {
        "name": "DeepSeek V3.2 (simulated hosts)",
        "context": 163_840,
        "created": 1764547200,
        "aliases": ["deepseek-v3.2", "deepseek-chat", "deepseek-reasoner"],
        "endpoints": endpoints,
    }
    probes = {"usd_per_day": "$20", "interval": "5m"}  # of the money that the demo invents
    limits = {"apps": LIMITS}
    config = {
        "catalogue": False,
        "allowed_hosts": list(names),
        "drain": {"notice": "0s"},  # no load balancer has to notice its end
        "probes": probes,
        "limits": limits,
        "models": {MODEL: model},
    }
    return yaml.safe_dump(config, sort_keys=False, width=120)


def _endpoint(host: SimHost, address: str) -> dict[str, Any]:
    price, dialect = host.price, host.dialect
    return {
        "id": host.id,
        "provider": host.provider.removeprefix("sim-"),  # so that requests name providers as they do elsewhere
        "name": host.name,
        "status": "self_hosted",
        "simulated": True,
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
        "data": {"zdr": "yes", "trains": "no"} if host.id == PRIVATE else {},
        "priors": {
            "ttft_p50": f"{host.ttft.p50:g}s",
            "throughput_p50": host.throughput.p50,
            "uptime": f"{host.uptime * 100:.2f}%",
            "as_of": host.price.as_of,
        },
    }
