"""`gateway probe`: one round from the terminal, against the configured hosts, all of them at the same time.

    settings ──> fleets, transport, runtime ──> ProbeRound at each endpoint ──> ProbeReport

It has no budget: the user sees what it cost. Its rows go into the ledger of the state folder, from which a gateway
that uses this folder adds them to its sums. The store is not needed, and nothing of the test for drift is kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import monotonic, time

from gateway.cache.response_cache import ResponseCache
from gateway.config import Settings, usable
from gateway.errors import ConfigError
from gateway.probe import fingerprint
from gateway.probe.canaries import CANARIES
from gateway.probe.canary_question import Canary
from gateway.probe.endpoint_record import EndpointRecord
from gateway.probe.pinned import worth_probing
from gateway.probe.probe_log import ProbeLog
from gateway.probe.probe_round import ProbeRound
from gateway.probe.probe_runner import ProbeRunner
from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import TimerWheel
from gateway.proxy.under_way import UnderWay
from gateway.route.fleet import Fleet
from gateway.state.folder import StateFolder
from gateway.state.store import Store
from gateway.telemetry.ledger import Ledger
from gateway.types import Endpoint, Model, Row
from gateway.upstream.destinations import located
from gateway.upstream.litellm_adapter import Adapted
from gateway.upstream.redactor import Redactor
from gateway.upstream.transport.transport import Transport

COSTLY = "context"  # the canary that is sent only on request
NO_STORE = "unix:///nowhere"  # never connected to
Target = tuple[Model, Endpoint]


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """`endpoints`: ids, or none for all. `runs`: speed runs at each."""

    endpoints: tuple[str, ...] = ()
    runs: int = 1
    canaries: bool = True
    context: bool = False


@dataclass(slots=True)
class ProbeReport:
    """Results by endpoint. `costs` in 1e-12 USD; `left_out`: endpoints without a price."""

    records: dict[str, EndpointRecord]
    costs: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a run failed, or a canary."""
        records = self.records.values()
        runs = (run.outcome != "ok" for record in records for run in record.runs)
        return any(runs) or any(canary.mistake for record in records for canary in record.canaries.values())


def targets(settings: Settings, wanted: Sequence[str]) -> list[Target]:
    """The endpoints to probe. Raises ConfigError for one that is not in use, or if there is none."""
    found = {one.id: (model, one) for model in settings.models for one in usable(model, settings.secrets)}
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ConfigError(f"--endpoint {unknown[0]}: is not in use; `gateway check` lists the endpoints")
    if not found:
        raise ConfigError("no endpoint can be used; `gateway check` says what is missing")
    return [found[name] for name in wanted] if wanted else list(found.values())


async def probed(settings: Settings, options: ProbeOptions, progress: Callable[[float], None]) -> ProbeReport:
    """Probes and returns the results. `progress` is called with the share that is done. Raises ConfigError."""
    chosen = targets(settings, options.endpoints)
    report = ProbeReport({endpoint.id: EndpointRecord() for _, endpoint in chosen if worth_probing(endpoint)})
    report.left_out = [endpoint.id for _, endpoint in chosen if not worth_probing(endpoint)]
    ledger = Ledger(StateFolder(settings.state).ledger)
    terminal = Terminal(report, progress, options)
    transport = Transport()
    runner = await _runner(settings, ProbeLog(ledger, terminal.count), transport)
    probes = ProbeRound(runner, terminal, terminal, report.records, Random(), _canaries(options), runs=options.runs)
    greedy = fingerprint.prompt(Random()) if options.canaries else None
    try:
        ready = [(model, one) for model, one in chosen if one.id in report.records]
        await asyncio.gather(*(probes.probe(model, one, greedy) for model, one in ready))
    finally:
        runner.runtime.wheel.close()
        transport.close()
        ledger.close()
    probes.compare()
    return report


class Terminal:
    """Pays whatever a probe costs, and notes it."""

    def __init__(self, report: ProbeReport, progress: Callable[[float], None], options: ProbeOptions) -> None:
        self._report = report
        self._progress = progress
        self._paid = 0
        self._expected = len(report.records) * (options.runs + len(_canaries(options)) + options.canaries)

    def __repr__(self) -> str:
        return f"<Terminal {len(self._report.records)} endpoints>"

    def count(self, row: Row) -> None:
        costs = self._report.costs
        costs[row.endpoint] = costs.get(row.endpoint, 0) + row.cost

    async def pay_for(self, most: int) -> bool:
        return True

    async def paid(self, cost: int) -> None:
        self._paid += 1
        self._progress(self._paid / self._expected)

    def ran(self, endpoint: str, outcome: str) -> None:
        """It is in the record."""

    def judged(self, endpoint: str, canary: str, mistake: str | None) -> None:
        """It is in the record."""


def _canaries(options: ProbeOptions) -> tuple[Canary, ...]:
    """Those that are sent: each belongs to the only round here."""
    if not options.canaries:
        return ()
    return tuple(replace(one, every=1) for one in CANARIES if one.name != COSTLY or options.context)


async def _runner(settings: Settings, log: ProbeLog, transport: Transport) -> ProbeRunner:
    fleets = {model.id: Fleet(usable(model, settings.secrets)) for model in settings.models}
    endpoints = [state.endpoint for fleet in fleets.values() for state in fleet.states.values()]
    destinations = located(endpoints, settings.secrets, transport)
    for destination in destinations.values():
        if isinstance(destination, Adapted):
            await destination.warm_up()
    runtime = Runtime(
        fleets=fleets,
        destinations=destinations,
        redactor=Redactor(settings.secrets.values()),
        wheel=TimerWheel(asyncio.get_running_loop()),
        outcomes=log,
        under_way=UnderWay(),
        clock=monotonic,
        wall_clock=time,
        rng=Random().random,
    )
    return ProbeRunner(runtime, log, ResponseCache(Store(NO_STORE)))
