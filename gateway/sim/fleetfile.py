"""Fleet files: the hosts of a replay.

    hosts:
      - id: novita/fp8
        price: {input: 0.269, cached_input: 0.1345, output: 0.40}
        ttft: {p50: 1.23s, p90: 2.23s, p99: 5.8s}
        throughput: {p50: 26, p90: 41}            # output tokens per second
        uptime: 99.93%
        rate_limited: 0.5%                        # share of requests that get a 429
        hit_efficiency: 100%                      # 0%: advertises a cache discount and never gives it
        cache_ttl: 1h
        incidents: {every: 4d, median: 60m}
        load: {free: 8, per: 16}                  # from the 9th request in flight on, each adds a 16th to all times
        published: true                           # false: only price, context and cache lifetime are known

The gateway gets what a catalogue would have: price, context, cache lifetime, the medians, and the p90 of the time to
first token, as published figures. It must learn hits, errors and tails.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.document import INVALID, DocumentReader, Node, Table, decode, nearest, place_at, read
from gateway.errors import ConfigError
from gateway.sim.sim_host import SimHost, split_failures
from gateway.types import Endpoint, Priors, PromptCache
from gateway.types.units import Share

DATA = Path(__file__).parent / "data"
RATE_LIMITED = 0.005  # share of requests that get a 429, unless the file has it


@dataclass(frozen=True, slots=True)
class FleetFile:
    hosts: tuple[SimHost, ...]
    about: str = ""


def shipped() -> dict[str, Path]:
    """The fleets that come with the gateway, by name."""
    return {path.stem.removeprefix("fleet-"): path for path in sorted(DATA.glob("fleet-*.yaml"))}


def read_fleet(name: str) -> tuple[SimHost, ...]:
    """The hosts of a shipped fleet, or of the fleet file at this path. Raises ConfigError with every problem."""
    path = shipped().get(name) or Path(name)
    if path.suffix != ".yaml":
        raise ConfigError(f"--fleet {name}: unknown fleet; {nearest(name, shipped())} or give a YAML file")
    return decode(read(path), FleetFile, {FleetFile: _fleet, SimHost: _host}).hosts


def endpoint(host: SimHost) -> Endpoint:
    """The endpoint as the gateway's catalogue would describe a host."""
    return Endpoint(
        id=host.id,
        provider=host.provider,
        base_url=None,
        model=None,
        name=host.name,
        price=host.price,
        context=host.context,
        quantization=host.quantization,
        supports=host.supports,
        cache=PromptCache(True, host.cache_ttl),
        cancel="stops",
        priors=_priors(host) if host.published else Priors(),
    )


def _priors(host: SimHost) -> Priors:
    return Priors(host.ttft.p50, host.ttft.p90, host.throughput.p50, host.tools_ok, host.uptime)


def _fleet(reader: DocumentReader, node: Node) -> Any:
    file = reader.record(node, FleetFile)
    if file is INVALID:
        return INVALID
    names = [host.id for host in file.hosts]
    if not names:
        return reader.problem(place_at(node, "hosts"), "hosts: empty; list at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return reader.problem(place_at(node, "hosts"), f"hosts: `{twice[0]}` is defined twice; give each its own id")
    return file


def _host(reader: DocumentReader, node: Node) -> Any:
    """A host whose failure rates are derived from its uptime."""
    limited = RATE_LIMITED
    if isinstance(node, Table) and "rate_limited" in node.entries:
        limited = reader.read(node.entries["rate_limited"].node, Share, "rate_limited")
    uptime = 1.0
    if isinstance(node, Table) and "uptime" in node.entries:
        uptime = reader.read(node.entries["uptime"].node, Share, "uptime")
    if INVALID in (limited, uptime):
        return INVALID
    if max(limited, uptime) > 1:
        return reader.problem(node.place, "uptime and rate_limited are shares of requests; write at most `100%`")
    given = {"rates": split_failures(uptime, limited), "uptime": uptime}
    return reader.record(node, SimHost, given, skip=["rate_limited", "uptime"])
