"""Trials of clients' faults: two gateways, one with keys, in front of hosts that are well; one fault after the other.

Meanwhile a second client asks `/health/live` without pause: its longest wait is what the fault costs everybody else.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.telemetry.ledger import read
from gateway.types import Row
from tests.faults.clients import KEY, Client, ClientFault, paced
from tests.faults.hosttrials import POLICY, PRICE
from tests.support.gateway import Running, gateway_command, write_policy
from tests.support.host import ScriptedHost

NOTICED = 3.0  # seconds for the host to see that a client has left
EVERY = 0.02


@dataclass(slots=True)
class ClientTrial:
    """`got` is what the client got, in `seconds`; `others` is the longest wait of another client. `left` says after
    how many seconds the host saw the client leave, None where it did not."""

    fault: ClientFault
    number: int
    got: str = ""
    seconds: float = 0.0
    others: float = 0.0
    asked: int = 0
    left: float | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def model(self) -> str:
        return f"clients/{self.number}"


async def run(faults: Iterable[ClientFault], folder: Path) -> list[ClientTrial]:
    trials = [ClientTrial(fault, number) for number, fault in enumerate(faults)]
    for keys in (False, True):
        chosen = [trial for trial in trials if trial.fault.keys is keys]
        place = folder / ("keys" if keys else "open")
        place.mkdir()
        if chosen:
            await _run(chosen, place, keys)
    return trials


async def _run(trials: Sequence[ClientTrial], folder: Path, keys: bool) -> None:
    async with AsyncExitStack() as stack:
        hosts = {one.number: await stack.enter_async_context(ScriptedHost(one.fault.host or paced)) for one in trials}
        async with _gateway(folder, trials, hosts, keys) as running:
            for trial in trials:
                if not trial.fault.waits:
                    await _try(running, trial, hosts[trial.number])
            await asyncio.gather(*(_try(running, one, hosts[one.number]) for one in trials if one.fault.waits))
        for host in hosts.values():
            host.errors.clear()  # a script that was still sending
    rows = list(read(folder / "state" / "ledger"))
    for trial in trials:
        trial.rows = [row for row in rows if row.model == trial.model]


async def _try(running: Running, trial: ClientTrial, host: ScriptedHost) -> None:
    """One fault, while a thread asks for others. The bytes are made before, so that it waits for the gateway alone."""
    address, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(address, int(port), limit=2**20)
    client = Client(reader, writer, trial.model)
    data = trial.fault.data(client)
    with _others(running.url, trial):
        began = time.perf_counter()
        trial.got = await trial.fault.act(client, data)
        trial.seconds = time.perf_counter() - began
        if trial.fault.left:
            trial.left = await _noticed(host)
    writer.transport.abort()
    trial.asked = len(host.requests)


async def _noticed(host: ScriptedHost) -> float | None:
    began = time.perf_counter()
    try:
        await host.until(lambda: host.gone > 0, NOTICED)
    except TimeoutError:
        return None
    return time.perf_counter() - began


@contextmanager
def _others(url: str, trial: ClientTrial) -> Iterator[None]:
    """Another client asks without pause; notes its longest wait."""
    over = threading.Event()

    def probe() -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False) as client:
            while not over.is_set():
                began = time.perf_counter()
                client.get("/health/live")
                trial.others = max(trial.others, time.perf_counter() - began)
                over.wait(EVERY)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@asynccontextmanager
async def _gateway(
    folder: Path, trials: Sequence[ClientTrial], hosts: Mapping[int, ScriptedHost], keys: bool
) -> AsyncIterator[Running]:
    write_policy(folder / "policies", "short", **POLICY)
    models = {trial.model: _model(trial, hosts[trial.number]) for trial in trials}
    settings = {"keys": [{"tenant": "table", "key_env": "TABLE_KEY"}]} if keys else {}
    with (folder / "log").open("wb") as log:
        async with gateway_command(
            folder,
            {},
            stderr=log,
            within=60.0,
            models=models,
            default_policy="short",
            environ={"TABLE_KEY": KEY},
            **settings,
        ) as running:
            yield running


def _model(trial: ClientTrial, host: ScriptedHost) -> dict[str, object]:
    endpoint = {
        "id": f"{trial.number}/host",
        "provider": "vllm",
        "base_url": f"{host.url}/v1",
        "model": "m",
        "price": PRICE,
    }
    return {"name": "Faults", "context": 32_768, "endpoints": [endpoint]}
