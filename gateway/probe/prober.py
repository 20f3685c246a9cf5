"""Scheduled probes: of all workers and replicas, the one that has the lock sends them.

    every 10 s: records, spent <── store ──> metrics
                a model is due, and the lock is free ──> ProbeRound, endpoint by endpoint ──> records ──> store

A model is due when one of its endpoints was last probed an interval ago. Its endpoints are probed together, so that
their greedy answers can be compared; the one that has waited longest comes first. When the budget is reached, the
others wait for the next day. Without the store nothing is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from gateway.config import ProbeSettings
from gateway.probe import fingerprint
from gateway.probe.canaries import CANARIES
from gateway.probe.endpoint_record import EndpointRecord
from gateway.probe.pinned import worth_probing
from gateway.probe.probe_round import ProbeRound
from gateway.probe.probe_runner import ProbeRunner
from gateway.probe.probe_store import ProbeStore, Reservation
from gateway.telemetry.probe_metrics import ProbeMetrics
from gateway.types import Endpoint, Model

LOOK_EVERY = 10.0  # seconds
NAMES = (*(canary.name for canary in CANARIES), fingerprint.NAME)
Records = dict[str, EndpointRecord]


class Prober:
    """One per worker with probes configured. `rng` draws the questions."""

    def __init__(
        self,
        settings: ProbeSettings,
        models: Sequence[Model],
        runner: ProbeRunner,
        store: ProbeStore,
        metrics: ProbeMetrics,
        rng: Random,
    ) -> None:
        self._interval = settings.interval
        self._models = models
        self._runner = runner
        self._store = store
        self._metrics = metrics
        self._rng = rng
        self._reserved: Reservation | None = None
        names = [endpoint.id for model in models for endpoint in self._endpoints(model)]
        metrics.prepare(settings.usd_per_day, names, NAMES)

    def __repr__(self) -> str:
        return f"<Prober every {self._interval:g} s, {self._store!r}>"

    async def run(self, pause: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Probes until cancelled, first after a while: a gateway that has just started has other things to do."""
        while True:
            await pause(LOOK_EVERY)
            await self._store.link.attempt(self.look)

    def close(self) -> None:
        self._store.link.close()

    async def look(self) -> None:
        """Shows what the store has, and probes the models that are due. Raises OSError without the store."""
        for model in self._models:
            now = self._runner.runtime.wall_clock()
            records = await self._store.read([endpoint.id for endpoint in self._endpoints(model)])
            self._show(records, await self._store.spent(now))
            if self._is_due(records, now, self._interval) and await self._store.take_lock():
                try:
                    await self._round(model, now)
                finally:
                    await self._store.free_lock()

    # the purse of a round

    async def pay_for(self, most: int) -> bool:
        """Only with the lock, and within the budget."""
        self._reserved = await self._store.reserve(most) if await self._store.take_lock() else None
        return self._reserved is not None

    async def paid(self, cost: int) -> None:
        self._metrics.paid(cost)
        if self._reserved is not None:
            await self._store.settle(self._reserved, cost)

    # the observer of a round

    def ran(self, endpoint: str, outcome: str) -> None:
        self._metrics.ran(endpoint, outcome)

    def judged(self, endpoint: str, canary: str, mistake: str | None) -> None:
        self._metrics.judged(endpoint, canary, mistake is None)

    async def _round(self, model: Model, now: float) -> None:
        endpoints = self._endpoints(model)
        records = await self._store.read([endpoint.id for endpoint in endpoints])  # those of the last holder
        ready = [one for one in endpoints if self._is_due({one.id: records[one.id]}, now, self._interval / 2)]
        ready.sort(key=lambda one: records[one.id].last or 0.0)
        greedy = fingerprint.prompt(self._rng)
        probes = ProbeRound(self._runner, self, self, records, self._rng, CANARIES)
        probed: list[str] = []
        for endpoint in ready:
            if await probes.probe(model, endpoint, greedy):
                record = records[endpoint.id]
                record.rounds, record.last = record.rounds + 1, now
                probed.append(endpoint.id)
                await self._store.write(endpoint.id, record)
        probes.compare()
        for name in probed:
            await self._store.write(name, records[name])
        self._show(records, await self._store.spent(now))

    def _endpoints(self, model: Model) -> list[Endpoint]:
        """Those in use that have a price, as they are configured now."""
        states = self._runner.runtime.fleets[model.id].states.values()
        return [state.endpoint for state in states if worth_probing(state.endpoint)]

    def _is_due(self, records: Records, now: float, interval: float) -> bool:
        return any(record.last is None or now - record.last >= interval for record in records.values())

    def _show(self, records: Records, spent: int) -> None:
        self._metrics.spent_today(spent)
        for endpoint, record in records.items():
            for name, canary in record.canaries.items():
                self._metrics.drifts(endpoint, name, canary.drift)
