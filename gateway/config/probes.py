"""The scheduled probes of gateway.yaml: how often, and for how much."""

from dataclasses import dataclass
from typing import Any

from gateway.document import INVALID, DocumentReader, Node, place_at
from gateway.types.units import Seconds, Usd

SHORTEST = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """`usd_per_day` of 0 means that nothing is probed. `interval`: seconds between two rounds at an endpoint."""

    usd_per_day: Usd = 0.0
    interval: Seconds = 3_600.0


def read_probes(reader: DocumentReader, node: Node) -> Any:
    entry = reader.record(node, ProbeSettings)
    if entry is not INVALID and entry.interval < SHORTEST:
        return reader.problem(place_at(node, "interval"), "probes.interval: write at least `1m`")
    return entry
