"""The results of probes for the model page, `GET /page/probes.json?model=MODEL`, and for OpenRouter's lists.

    store ──> EndpointRecord of each endpoint ──> runs, percentiles, canaries, score, rank
                                             └──> what the answers say about capabilities

Without the store there are no endpoints, and what was spent is unknown.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs
from starlette.requests import Request

from gateway.probe.canaries import TESTED
from gateway.probe.endpoint_record import CanaryRecord, EndpointRecord, percentile
from gateway.probe.probe_store import ProbeStore
from gateway.route.fleet import Fleet
from gateway.types import PICO, Model
from gateway.types.capability_claims import ProbedCapability
from gateway.types.endpoint import Capability

FRESH = 2.0  # seconds for which results are kept, so that many open pages cost as much as one
SHARES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class _Results(NamedTuple):
    read_at: float
    records: Mapping[str, EndpointRecord]
    shown: object


class ProbesPage:
    """`find` returns the model of a name, or raises HTTPException. `store` is a connection of its own: pages do not
    wait for the prober. `budget` in USD per day."""

    def __init__(
        self,
        find: Callable[[str], Model],
        fleets: Mapping[str, Fleet],
        store: ProbeStore,
        budget: float,
        clock: Callable[[], float],
    ) -> None:
        self._find = find
        self._fleets = fleets
        self._store = store
        self._budget = budget
        self._clock = clock
        self._turn = asyncio.Lock()  # the connection takes one command at a time
        self._kept: dict[str, _Results] = {}  # by model

    def __repr__(self) -> str:
        return f"<ProbesPage {self._store!r}>"

    async def results(self, request: Request) -> object:
        """As JSON. Raises HTTPException for an unknown model."""
        return (await self._results(self._find(request.query_params.get("model", "")).id)).shown

    async def probed(self, model: Model) -> dict[str, dict[Capability, ProbedCapability]]:
        """What was seen of the capabilities of each endpoint, by its id; nothing without the store."""
        records = (await self._results(model.id)).records
        return {endpoint: _probed(record) for endpoint, record in records.items()}

    async def _results(self, model: str) -> _Results:
        async with self._turn:
            found = self._kept.get(model)
            if found is None or self._clock() - found.read_at >= FRESH:
                found = self._kept[model] = await self._read(model)
        return found

    async def _read(self, model: str) -> _Results:
        records = dict[str, EndpointRecord]()
        spent: int | None = None

        async def read() -> None:
            nonlocal records, spent
            records = await self._store.read(list(self._fleets[model].states))
            spent = await self._store.spent(self._clock())

        await self._store.link.attempt(read)
        budget = {"usd_per_day": self._budget, "spent_today": None if spent is None else spent / PICO}
        return _Results(self._clock(), records, {"budget": budget, "endpoints": shown(records)})


def _probed(record: EndpointRecord) -> dict[Capability, ProbedCapability]:
    found = ((capability, record.canaries.get(name)) for capability, name in TESTED.items())
    return {
        capability: ProbedCapability(canary.passed, len(canary.results), canary.last)
        for capability, canary in found
        if canary is not None and canary.results
    }


def shown(records: Mapping[str, EndpointRecord]) -> dict[str, Any]:
    """Every endpoint's results; endpoints with equal scores share a rank."""
    scores = [score for record in records.values() if (score := record.score) is not None]
    return {endpoint: _shown(record, scores) for endpoint, record in records.items()}


def _shown(record: EndpointRecord, scores: Sequence[float]) -> dict[str, Any]:
    runs, score = record.runs, record.score
    return {
        "last": record.last,
        "runs": [structs.asdict(run) for run in runs],
        "errors": sum(run.outcome != "ok" for run in runs),
        "of": len(runs),
        "ttft": quantities([run.ttft for run in runs if run.ttft is not None]),
        "throughput": quantities([run.throughput for run in runs if run.throughput is not None]),
        "canaries": {name: _canary(canary) for name, canary in record.canaries.items()},
        "score": score,
        "rank": None if score is None else 1 + sum(other > score for other in scores),
    }


def _canary(canary: CanaryRecord) -> dict[str, Any]:
    return {
        "passed": canary.passed,
        "of": len(canary.results),
        "last": canary.last,
        "drift": canary.drift,
        "mistake": canary.mistake,
    }


def quantities(values: Sequence[float]) -> dict[str, float | int | None]:
    """The number of values and their percentiles, each a value that was measured."""
    ranked = sorted(values)
    return {"n": len(ranked), **{name: percentile(ranked, share) for name, share in SHARES.items()}}
