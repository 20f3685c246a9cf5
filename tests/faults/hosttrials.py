"""Trials of hosts' faults: one gateway, and for each trial a model with hosts of its own, so that none touches another.

fault x (streamed, whole) x (alone, with a second host) ──> Trial ──one request──> Outcome
                                                            └─ the ledger's rows, read when the gateway has ended
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx

from gateway.telemetry.ledger import read
from gateway.types import Row
from tests.faults.asking import QUESTION, Got, ask
from tests.faults.hosts import HostFault
from tests.faults.scripts import first, good
from tests.support.gateway import Running, gateway_command, write_policy
from tests.support.host import ScriptedHost
from tests.support.ports import free_port

AT_ONCE = 16  # trials
WITHIN, FIRST_TOKEN, GAP, TOTAL = 6.0, 1.5, 1.5, 10.0  # seconds: the policy's clocks
POLICY: dict[str, Any] = {
    "attempts": {"max": 4, "within": f"{WITHIN:g}s"},
    "timeouts": {
        "connect": "500ms",
        "first_token": f"{FIRST_TOKEN:g}s",
        "first_token_per_10k": "0s",
        "gap": f"{GAP:g}s",
        "total": f"{TOTAL:g}s",
        "stream": f"{TOTAL:g}s",
    },
    "keepalive": "500ms",
    "affinity": "none",
}
POLICIES: dict[str, dict[str, Any]] = {
    "short": {},
    "short-whole": {"answer": "whole"},
    "short-resume": {"resume": "continue"},
}
PRICE = {"input": 0.25, "cached_input": 0.25, "output": 0.5}


@dataclass(slots=True)
class Trial:
    """One request to a host with a fault. `got` and `asked` are filled by the request, `rows` by the ledger."""

    fault: HostFault
    stream: bool
    alone: bool
    policy: str
    number: int
    got: Got = field(default_factory=Got)
    asked: int = 0  # requests that hosts saw
    streamed_upstream: bool = False
    rows: list[Row] = field(default_factory=list)

    @property
    def model(self) -> str:
        return f"faults/{self.number}"

    @property
    def named(self) -> str:
        """The model as the client writes it."""
        return f"{self.model}:{self.policy}"

    @property
    def broken(self) -> str:
        return f"{self.number}/broken"


def trials(faults: Sequence[HostFault]) -> list[Trial]:
    """Every way of trying these faults. A fault that only a stream can have is tried with whole requests as well: the
    gateway may stream from the host nevertheless; where it did not, nothing was tried."""
    ways = [(fault, stream, alone, "short") for fault in faults for stream in (True, False) for alone in (True, False)]
    breaks = [fault for fault in faults if fault.when == "after"]
    ways += [(fault, True, False, policy) for fault in breaks for policy in POLICIES if policy != "short"]
    return [Trial(*way, number) for number, way in enumerate(ways)]


async def run(faults: Sequence[HostFault], folder: Path) -> list[Trial]:
    """Try all; the ones that flood the machine last, one after the other."""
    everything = trials(faults)
    if not everything:
        return []
    async with AsyncExitStack() as stack:
        well = await stack.enter_async_context(ScriptedHost(good))
        hosts = {trial.number: await stack.enter_async_context(_host(trial)) for trial in everything}
        async with _gateway(folder, everything, hosts, well) as running:
            gate = asyncio.Semaphore(AT_ONCE)
            calm = [
                _limited(gate, running, trial, hosts[trial.number]) for trial in everything if not trial.fault.flood
            ]
            await asyncio.gather(*calm)
            for trial in everything:
                if trial.fault.flood:
                    await _try(running, trial, hosts[trial.number])
    _fill(everything, read(folder / "state" / "ledger"), well)
    return [trial for trial in everything if trial.stream or trial.streamed_upstream or trial.fault.whole]


async def _limited(gate: asyncio.Semaphore, running: Running, trial: Trial, host: ScriptedHost | None) -> None:
    async with gate:
        await _try(running, trial, host)


async def _try(running: Running, trial: Trial, host: ScriptedHost | None) -> None:
    """One client of its own, so that no connection of another trial is used again."""
    fault = trial.fault
    async with httpx.AsyncClient(base_url=running.url, timeout=None, trust_env=False, verify=False) as client:
        if fault.warm is not None:
            await ask(client, trial.named, trial.stream)
            await asyncio.sleep(fault.warm)
        trial.got = await ask(client, trial.named, trial.stream, fault.tools)
    if host is not None:
        received = list(_asked(host))[fault.warm is not None :]
        trial.asked = len(received)
        trial.streamed_upstream = any(body.get("stream") for body in received)


def _asked(host: ScriptedHost) -> Iterator[Any]:
    """The bodies of the requests that came from a client: the gateway may have asked on its own account as well."""
    for request in host.requests:
        if QUESTION.encode() in request.body:
            yield request.json()


@asynccontextmanager
async def _host(trial: Trial) -> AsyncIterator[ScriptedHost | None]:
    fault = trial.fault
    if fault.streamed is None:
        yield None
        return

    async def script(request: Any, out: Any) -> None:
        chosen = fault.streamed if request.json().get("stream") else fault.whole
        await (chosen or good)(request, out)

    if fault.warm is not None:
        host = ScriptedHost(first(good, script))
    else:
        host = ScriptedHost(first(script, good) if fault.once else script)
    async with host:
        yield host


@asynccontextmanager
async def _gateway(
    folder: Path, everything: Sequence[Trial], hosts: dict[int, ScriptedHost | None], well: ScriptedHost
) -> AsyncIterator[Running]:
    pick = {"how": "order", "order": [one.broken for one in everything]}
    for name, fields in POLICIES.items():
        write_policy(folder / "policies", name, pick=pick, **POLICY, **fields)
    models = {trial.model: _model(trial, hosts[trial.number], well) for trial in everything}
    with (folder / "log").open("wb") as log:
        async with gateway_command(
            folder, {}, stderr=log, within=60.0, models=models, default_policy="short"
        ) as running:
            yield running


def _model(trial: Trial, host: ScriptedHost | None, well: ScriptedHost) -> dict[str, Any]:
    urls = {trial.broken: host.url if host else f"http://127.0.0.1:{free_port()}"}
    if not trial.alone:
        urls[f"{trial.number}/well"] = well.url
    endpoints = [
        {
            "id": name,
            "provider": "vllm",
            "base_url": f"{url}/v1",
            "model": trial.model,
            "price": PRICE,
            "supports": ["tools", "prefix"],
        }
        for name, url in urls.items()
    ]
    return {"name": "Faults", "context": 32_768, "endpoints": endpoints}


def _fill(everything: Sequence[Trial], rows: Iterable[Row], well: ScriptedHost) -> None:
    """Give each trial the rows of its last exchange, and count what the good host was asked."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(row.model, []).append(row)
    for trial in everything:
        exchanges = [list(group) for _, group in groupby(by_model.get(trial.model, []), lambda row: row.exchange)]
        if exchanges and len(exchanges) > (trial.fault.warm is not None):
            trial.rows = sorted(exchanges[-1], key=lambda row: row.attempt)
        trial.asked += sum(body["model"] == trial.model for body in _asked(well))
