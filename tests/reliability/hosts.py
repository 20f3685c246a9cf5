"""The simulated hosts of a trial: those of the demo, with faults at random, signed answers, and books of their own.

    Fleet ── Host(Machine) for each endpoint ── SimConnection for each of the gateway's connections
                 ├─ said(): signed words (signed.py)
                 └─ settle(): one Entry in `books`

A host bills the prompt and each token that it sent, also where its answer broke or the gateway closed the connection.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import yaml

from gateway.sim.demofleet import FLEET, gateway_config
from gateway.sim.host_prompt_cache import prompt_text
from gateway.sim.machine import Machine, Script
from gateway.sim.sim_answer import SimAnswer
from gateway.sim.sim_connection import SimConnection
from gateway.sim.sim_host import FaultRates, SimHost, Spread, Wait
from tests.reliability.signed import signed
from tests.support.closing import stop

MARK = re.compile(r"trial-(\d+)")  # in the prompt of each request of a trial
WORDS = re.compile(r"about (\d+) words")
NO_RATES = FaultRates(0.0, 0.0, 0.0)
CHAOS: Mapping[str, float] = {  # share of the requests that meet each fault
    "cut": 0.03,
    "reset": 0.02,
    "stall": 0.005,
    "silent": 0.005,
    "slow": 0.03,
    "drop": 0.02,
    "in_band": 0.01,
    "garbage": 0.02,
    "unclean": 0.005,
    "empty": 0.005,
    "429": 0.03,
    "500": 0.02,
    "502": 0.01,
    "503": 0.02,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One request in a host's books. `mark` is the number of the trial's request, -1 for the gateway's own. Money in
    1e-12 USD."""

    mark: int
    host: str
    at: float  # unix time of its arrival
    fault: str
    cancelled: bool
    tokens: int
    cost: int


class Host(Machine):
    """A simulated host whose faults come at `faults`, and which keeps an Entry for each request that it answered."""

    def __init__(self, host: SimHost, number: int, faults: Mapping[str, float], speed: float, seed: int) -> None:
        super().__init__(replace(host, rates=NO_RATES), speed=speed, seed=seed)
        self.books: list[Entry] = []
        self._number = number
        self._faults = faults
        self._fate = Random(f"{seed}/{host.id}/faults")
        self._answers = 0
        self._mark = -1
        self._drawn = "ok"
        self._open: dict[int, tuple[int, float, str]] = {}

    def chat(self, raw: bytes, now: float) -> Script:
        self._mark = marked(raw.decode(errors="replace"))
        script = super().chat(raw, now)
        if script.status:  # a dropped request is never settled
            self._open[id(script)] = (self._mark, time.time(), self._drawn)
        return script

    def said(self, body: dict[str, Any], thinking: bool) -> SimAnswer:
        self._answers += 1
        requested = WORDS.search(prompt_text(body))
        total = int(requested[1]) if requested else 12
        words = partial(signed, f"h{self._number}", f"{self._answers:x}")
        return SimAnswer(words(4) if thinking else (), words(total), (), "stop")

    def settle(self, script: Script, tokens: int, cancelled: bool) -> None:
        before = self.counters.cost_pico_usd
        super().settle(script, tokens, cancelled)
        mark, at, fault = self._open.pop(id(script), (-1, time.time(), ""))
        cost = self.counters.cost_pico_usd - before
        if script.usage:
            self.books.append(Entry(mark, self.host.id, at, fault, cancelled, tokens, cost))

    def _fault(self) -> str:
        self._drawn = self.fault_queue.popleft() if self.fault_queue else self._fate_of_one()
        return self._drawn

    def _fate_of_one(self) -> str:
        roll = self._fate.random()
        for fault, rate in self._faults.items() if self._mark >= 0 else ():
            roll -= rate
            if roll < 0:
                return fault
        return "ok"


def marked(text: str) -> int:
    """The number of the trial's request in this text, -1 without one."""
    found = MARK.search(text)
    return int(found[1]) if found else -1


class Fleet:
    """All hosts of a trial. `refuse` closes the listener of one for a while."""

    def __init__(self, faults: Mapping[str, float], speed: float, seed: int, hosts: Sequence[SimHost] = FLEET) -> None:
        self.hosts = {one.id: Host(one, number, faults, speed, seed) for number, one in enumerate(hosts)}
        self.ports = dict.fromkeys(self.hosts, 0)
        self._peers: set[SimConnection] = set()
        self._servers: dict[str, asyncio.Server] = {}

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.hosts)}, {len(self._peers)} connections>"

    @property
    def books(self) -> list[Entry]:
        """Every request that any host billed."""
        return [entry for host in self.hosts.values() for entry in host.books]

    @property
    def models(self) -> dict[str, Any]:
        """`models:` of the gateway.yaml that serves from these hosts only."""
        addresses = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        models: dict[str, Any] = yaml.safe_load(gateway_config(addresses))["models"]
        for model in models.values():
            for endpoint in model["endpoints"]:
                price = self.hosts[endpoint["id"]].host.price
                endpoint["cancel"] = "unknown"  # they bill what they have done, which the gateway is not to know
                endpoint["price"] = {"input": price.input, "cached_input": price.cached_input, "output": price.output}
        return models

    async def listen(self, name: str) -> None:
        factory = partial(SimConnection, self.hosts[name], self._peers)
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", self.ports[name], backlog=1024)
        self.ports[name] = server.sockets[0].getsockname()[1]
        self._servers[name] = server

    async def refuse(self, name: str, seconds: float) -> None:
        """New connections to this host are refused for so long; open ones go on."""
        server = self._servers.pop(name)
        await stop(server)
        await asyncio.sleep(seconds)
        await self.listen(name)

    async def close(self) -> None:
        for server in self._servers.values():
            await stop(server)
        for peer in list(self._peers):
            peer.abort()


@asynccontextmanager
async def serving(fleet: Fleet) -> AsyncIterator[Fleet]:
    """The fleet with every host listening."""
    try:
        for name in fleet.hosts:
            await fleet.listen(name)
        yield fleet
    finally:
        await fleet.close()


def steady(host: SimHost, ttft: float, tokens_per_second: float) -> SimHost:
    """The host without chance in its times."""
    return replace(host, ttft=Wait(ttft, ttft), throughput=Spread(tokens_per_second, tokens_per_second))
