"""Simulated hosts without sockets: a probe is translated as for the real host, and answered by the host's machine."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import orjson

from gateway.probe.canary_question import Canary, Json, ProbeAnswer
from gateway.probe.endpoint_record import EndpointRecord
from gateway.probe.pinned import probe_request
from gateway.probe.probe_round import ProbeRound
from gateway.probe.probe_runner import ProbeRun, ProbeRunner
from gateway.route.fleet import Fleet
from gateway.sim.demofleet import FLEET
from gateway.sim.flaws import SOUND, Flaws
from gateway.sim.fleetfile import endpoint as described
from gateway.sim.machine import Machine
from gateway.sim.sim_host import MODEL, FaultRates, SimHost
from gateway.types import Endpoint, Model, Row, Usage
from gateway.upstream.dialects import outgoing
from gateway.upstream.usage import cost, read_usage

STEADY = [replace(host, rates=FaultRates(0.0, 0.0, 0.0)) for host in FLEET[:4]]  # never fail


class Lab:
    """A purse without a bottom, and the runner. Every call of `probe` is one round at all hosts."""

    def __init__(self, hosts: Sequence[SimHost], canaries: Sequence[Canary], seed: int, flaws: Mapping[str, Flaws]):
        self.endpoints = [_endpoint(host) for host in hosts]
        self.model = Model(MODEL, "DeepSeek V3.2", 163_840, tuple(self.endpoints))
        self.machines = {one.id: Machine(one, flaws.get(one.id, SOUND), speed=0, seed=seed) for one in hosts}
        self.records = {one.id: EndpointRecord() for one in self.endpoints}
        self.asked: list[str] = []  # the endpoint of each request
        self.on_request: Callable[[], object] = lambda: None
        self.spent = self.now = 0
        self.fleet = Fleet(self.endpoints)
        self.runtime = SimpleNamespace(fleets={MODEL: self.fleet}, clock=self.time, wall_clock=self.time)
        runner = cast(ProbeRunner, self)
        self.rng = Random(seed)
        self.round = ProbeRound(runner, self, self, self.records, self.rng, canaries)

    def time(self) -> float:
        return float(self.now)

    def probe(self, greedy: Json | None) -> None:
        asyncio.run(self._probe(greedy))

    async def _probe(self, greedy: Json | None) -> None:
        for endpoint in self.endpoints:
            await self.round.probe(self.model, endpoint, greedy)
            self.records[endpoint.id].rounds += 1
        self.round.compare()
        self.now += 3_600

    def drifting(self) -> set[tuple[str, str]]:
        """(endpoint, canary)."""
        found = self.records.items()
        return {(name, kind) for name, one in found for kind, canary in one.canaries.items() if canary.drift}

    # the runner

    async def run(self, body: Json, model: Model, endpoint: Endpoint) -> ProbeRun:
        self.asked.append(endpoint.id)
        self.on_request()
        machine = self.machines[endpoint.id]
        request = probe_request({**body, "stream": False}, model, self.time())
        script = machine.chat(outgoing(request, endpoint), self.time())
        if script.ending != "clean":
            return ProbeRun(_row(endpoint, Usage(), "cut"), None)
        answer = orjson.loads(b"".join(event.data for event in script.events))
        usage = read_usage(answer.get("usage"))
        ok = script.status == 200
        return ProbeRun(_row(endpoint, usage, "ok" if ok else "server"), _answer(answer) if ok else _refusal(answer))

    # the purse

    async def pay_for(self, most: int) -> bool:
        return True

    async def paid(self, cost: int) -> None:
        self.spent += cost

    # the observer

    def ran(self, endpoint: str, outcome: str) -> None: ...
    def judged(self, endpoint: str, canary: str, mistake: str | None) -> None: ...


def _endpoint(host: SimHost) -> Endpoint:
    return replace(described(host), dialect=host.dialect, model=MODEL)


def _row(endpoint: Endpoint, usage: Usage, outcome: str) -> Row:
    assert endpoint.price is not None
    return Row(
        "x-1",
        "x",
        0.0,
        "",
        "",
        MODEL,
        "",
        False,
        endpoint.id,
        endpoint.provider,
        1,
        outcome,
        cost=cost(usage, endpoint.price, 0),
    )


def _answer(body: Json) -> ProbeAnswer:
    message: dict[str, Any] = body["choices"][0]["message"]
    calls = tuple((one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls", ()))
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    return ProbeAnswer(message["content"] or "", reasoning, calls)


def _refusal(body: Json) -> ProbeAnswer | None:
    error = body.get("error") or {}
    return ProbeAnswer(refused=error["message"]) if error.get("code") == "context_length_exceeded" else None
