"""Simulated hosts fitted from the gateway's own ledger: the measured behaviour of each endpoint.

    rows of the ledger ──by endpoint──> TTFTs, speeds, outcomes, cached tokens ──quantiles, shares──> SimHost

The ledger does not record which prefixes a host could have cached. So the endpoint with the highest cached share is
assumed to use every cached prefix, and the others in proportion to their share. Outages are part of the measured
failures, not extra.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from gateway.sim.sim_host import TYPICAL_UNCACHED, FaultRates, SimHost, Spread, Wait
from gateway.types import FAULTS, Endpoint, Fault, Price, Row

ENOUGH = 20  # answers; an endpoint with fewer is left out
KEPT = 20_000  # latest answers of an endpoint that are used
PREFILL = 8_000.0  # tokens per second
LEAST_WAIT = 0.05  # seconds
DEFAULT_TTL = 300.0


class Sample:
    """The ledger's data of one endpoint."""

    def __init__(self) -> None:
        self.waits: deque[float] = deque(maxlen=KEPT)  # seconds, adjusted to a prompt of the typical size
        self.speeds: deque[float] = deque(maxlen=KEPT)
        self.attempts = self.limited = self.refused = self.cut = 0
        self.prompt = self.cached = 0

    def add(self, row: Row) -> None:
        """Counts one attempt. Outcomes that are not the host's (the client's fault, cancelled) do not count."""
        fault = FAULTS.get(row.outcome)
        if fault is None:
            if row.outcome == "ok":
                self.attempts += 1
                self._add_answer(row)
        elif fault is Fault.RATE_LIMITED:
            self.attempts += 1
            self.limited += 1
        elif fault.blamed:
            self.attempts += 1
            self.refused += row.ttft is None
            self.cut += row.ttft is not None

    def _add_answer(self, row: Row) -> None:
        self.prompt += row.prompt_tokens
        self.cached += row.cached_tokens
        if row.ttft is None:
            return  # not streamed
        read = row.prompt_tokens - row.cached_tokens - TYPICAL_UNCACHED
        self.waits.append(max(LEAST_WAIT, row.ttft - read / PREFILL))
        if row.throughput is not None:
            self.speeds.append(row.throughput)

    @property
    def hit(self) -> float:
        """Cached share of all prompt tokens."""
        return self.cached / self.prompt if self.prompt else 0.0

    def __repr__(self) -> str:
        return f"<Sample of {self.attempts} attempts>"


class Fitted(NamedTuple):
    """The fitted hosts, and the ids of endpoints with too few answers."""

    hosts: tuple[SimHost, ...]
    left_out: tuple[str, ...]


def fit(rows: Iterable[Row], endpoints: Mapping[str, Endpoint]) -> Fitted:
    """One host for each endpoint with enough rows; there may be none."""
    samples = {name: Sample() for name in endpoints}
    for row in rows:
        if row.endpoint in samples:
            samples[row.endpoint].add(row)
    known = {name: one for name, one in samples.items() if min(len(one.waits), len(one.speeds)) >= ENOUGH}
    best = max((one.hit for one in known.values()), default=0.0)
    left_out = tuple(name for name, one in samples.items() if one.attempts and name not in known)
    return Fitted(tuple(_host(endpoints[name], one, best) for name, one in known.items()), left_out)


def _host(endpoint: Endpoint, sample: Sample, best_hit: float) -> SimHost:
    rates = FaultRates(*(count / sample.attempts for count in (sample.limited, sample.refused, sample.cut)))
    return SimHost(
        id=endpoint.id,
        name=endpoint.name,
        price=endpoint.price or Price(0.0, 0.0),
        ttft=Wait(*_quantiles(sample.waits, (0.5, 0.9, 0.99))),
        throughput=Spread(*_quantiles(sample.speeds, (0.5, 0.9))),
        uptime=1 - rates.server_error - rates.cut,
        rates=rates,
        hit_efficiency=sample.hit / best_hit if best_hit else 0.0,
        cache_ttl=endpoint.cache.ttl or DEFAULT_TTL,
        context=endpoint.context,
        quantization=endpoint.quantization,
        tools_ok=endpoint.priors.tools_ok,
        prefill=PREFILL,
        supports=endpoint.supports,
    )


def _quantiles(values: Iterable[float], shares: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered[ceil(len(ordered) * share) - 1] for share in shares]
