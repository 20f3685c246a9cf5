"""One subject, measured: started, asked to be ready, warmed up, given every scenario, ended.

    start --first 200--> idle memory --> warm-up --> scenario ... scenario --> stop

Each step gives one flat record; a record with `failed` says why there are no figures.
"""

import asyncio
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from bench import process
from bench.cancel import measure_cancel
from bench.frontier import QUICK, SCALES, SEARCH, Floor, Scale, frontier
from bench.growth import PER_BLOCK, measure_growth
from bench.host import ROOT, MockHost
from bench.launch import Site
from bench.load import Call, Load, Result
from bench.mock import MODEL, Behaviour
from bench.scenarios import CANCEL, GROWTH, SCENARIOS, Scenario
from bench.subjects import Subject

READY_WITHIN = 90.0  # seconds to the first 200; LiteLLM needs 15 on an idle machine
SETTLED = 0.5  # seconds after which memory is read as idle
QUICK_SEARCH = 3.0  # seconds of a quick search
SAMPLE = 0.1  # seconds between two looks at memory
WARM = Scenario("warm", connections=8, requests=400)
WARM_STREAMS = Scenario("warm", connections=8, requests=40, stream=True, behaviour={"chunks": 20})

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run share."""

    host: MockHost
    peers: Path
    cpu: int  # the subject's
    seconds: float
    quick: bool
    key: str = field(repr=False)
    floors: dict[str, Floor] = field(default_factory=dict, repr=False)

    def floor(self, scale: Scale) -> Floor:
        """What the host alone takes, measured once in a run."""
        return self.floors.setdefault(scale.name, Floor(scale, Call(self.host.port, {}, stream=bool(scale.chunks))))


class NotReadyError(Exception):
    """A subject did not answer with 200 in time; its last words."""


def measure(subject: Subject, scenarios: tuple[str, ...], bench: Bench) -> Iterator[Record]:
    """The records of one start of `subject`; `failed` in the only one says why it does not run."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        site = _site(folder, bench)
        launch = subject.launch(site) if subject.launch else None
        headers = {"authorization": f"Bearer {bench.key}", **subject.headers, **(launch.headers if launch else {})}
        model = launch.model if launch else MODEL
        running = None
        bench.host.behave(**usual(subject))  # the last scenario may have left streams that are slow, or without end
        if launch is not None:
            began = time.monotonic()
            log = folder / "log"
            running = stack.enter_context(_started(launch.command, launch.environ, log, bench.cpu))
            try:
                await_ready(running, Call(site.port, headers, model=launch.model), log)
            except NotReadyError as error:
                yield {"scenario": "start", "failed": str(error)}
                return
            yield {"scenario": "start", "cold_start_s": time.monotonic() - began, **_idle_memory(running.pid)}
        elif subject.launch is not None:
            yield {"scenario": "start", "failed": "not installed, left out; `make bench-peers` installs it"}
            return
        port = site.port if running else bench.host.port
        measured = Measured(subject, port, headers, model, running.pid if running else None, bench)
        measured.warm_up()
        for name in scenarios:
            if subject.scenarios is None or name in subject.scenarios:
                yield {"scenario": name, **measured.record(name)}


def usual(subject: Subject) -> Record:
    """How the mock host behaves for this subject, unless a scenario changes it."""
    return {**asdict(Behaviour()), "style": subject.style}


@dataclass(frozen=True, slots=True)
class Measured:
    """A subject that runs. `pid` is None for the host itself."""

    subject: Subject
    port: int
    headers: dict[str, str] = field(repr=False)
    model: str
    pid: int | None
    bench: Bench

    def warm_up(self) -> None:
        for scenario in (WARM, WARM_STREAMS):
            self._run(scenario)

    def record(self, name: str) -> Record:
        """What one scenario gave; a connection that breaks where it must not is a failure of the scenario."""
        try:
            if name == CANCEL:
                return measure_cancel(self._call(1024, True), self.bench.host, 3 if self.bench.quick else 10)
            if name == GROWTH:
                return measure_growth(self._call, self.bench.host, self.pid, 100 if self.bench.quick else PER_BLOCK)
            if name in SCALES:
                return self._frontier((QUICK if self.bench.quick else SCALES)[name])
            scenario = SCENARIOS[name]
            return self._run(scenario.quick() if self.bench.quick else scenario)
        except OSError as error:
            return {"failed": str(error)}

    def _call(self, size: int, stream: bool) -> Call:
        return Call(self.port, self.headers, size, stream, self.subject.unique, self.model)

    def _behave(self, behaviour: Mapping[str, Any]) -> dict[str, Any]:
        return self.bench.host.behave(**{**usual(self.subject), **behaviour})

    def _frontier(self, scale: Scale) -> Record:
        self._behave(scale.behaviour)
        call = self._call(1024, bool(scale.chunks))
        return frontier(scale, call, self.bench.floor(scale), QUICK_SEARCH if self.bench.quick else SEARCH)

    def _run(self, scenario: Scenario) -> Record:
        before = self._behave(scenario.behaviour)
        load = scenario.load(self._call(scenario.size, scenario.stream), self.bench.seconds)
        meter = Meter(self.pid, self.bench.host.running.pid)
        result, peak = uvloop.run(_watched(load, meter.pids))
        record: Record = result.summary() | meter.cost(len(result.latencies))
        after = self.bench.host.counters()
        record["host_requests"] = after["requests"] - before["requests"]
        record["host_connections"] = after["accepted"] - before["accepted"] - 1  # without the one that asks this
        if self.pid is not None:
            record |= {"rss_mb": meter.rss / 1e6, "rss_peak_mb": peak / 1e6}
            record["rss_kb_per_connection"] = max(0, peak - meter.rss) / 1e3 / scenario.connections
        if scenario.stream:
            record["later_events"] = scenario.later_events
        return record


class Meter:
    """Reads the clocks when it is made, and says what has been spent since."""

    def __init__(self, pid: int | None, host: int) -> None:
        self._pid = pid
        self._harness = (host, os.getpid())
        self.pids = process.tree(pid) if pid else []
        self.rss = process.rss(self.pids)
        self._spent = process.cpu_by_name(self.pids)
        self._own = sum(process.cpu_by_name(self._harness).values())
        self._busy = process.busy()
        self._began = time.monotonic()

    def __repr__(self) -> str:
        return f"<Meter of {self._pid}, {len(self.pids)} processes>"

    def cost(self, requests: int) -> Record:
        """CPU of the subject's processes, and the cores that work of others took meanwhile."""
        wall, busy = time.monotonic() - self._began, process.busy() - self._busy
        after = process.cpu_by_name(process.tree(self._pid)) if self._pid else {}
        spent = {name: round(value - self._spent.get(name, 0.0), 3) for name, value in after.items()}
        total = sum(spent.values())
        own = sum(process.cpu_by_name(self._harness).values()) - self._own
        record: Record = {"foreign_cores": round(max(0.0, busy - own - total) / wall, 2)}
        if self._pid:
            record |= {"cpu_s": total, "cpu_by_process": spent, "cores": total / wall}
            if requests:
                record["cpu_us"] = total / requests * 1e6
        return record


async def _watched(load: Load, pids: list[int]) -> tuple[Result, int]:
    """The result of the load, and the most memory that was seen meanwhile."""
    run, peak = asyncio.ensure_future(load.run()), 0
    while not run.done():
        await asyncio.wait([run], timeout=SAMPLE)
        peak = max(peak, process.rss(pids))
    return run.result(), peak


@contextmanager
def _started(command: list[str], environ: Any, log: Path, cpu: int) -> Iterator[Popen[bytes]]:
    running = process.start(command, environ, log, cpu, ROOT)
    try:
        yield running
    finally:
        process.stop(running)


def free_ports() -> tuple[int, int]:
    """Two ports that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def _site(folder: Path, bench: Bench) -> Site:
    port, spare = free_ports()
    host = bench.host
    return Site(folder, bench.peers, port, spare, host.port, host.tls_port, host.certificate, bench.key)


def _idle_memory(pid: int) -> Record:
    time.sleep(SETTLED)
    pids = process.tree(pid)
    return {"rss_mb": process.rss(pids) / 1e6, "rss_first_process_mb": process.rss([pid]) / 1e6}


def await_ready(running: Popen[bytes], call: Call, log: Path, within: float = READY_WITHIN) -> None:
    """Returns when `call` is answered with 200. Raises NotReadyError when the process has ended or time is up."""
    until = time.monotonic() + within
    answer = "no connection"
    while time.monotonic() < until and running.poll() is None:
        try:
            status, answer = _ask(call)
            if status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.005)
    why = f"ended with {running.returncode}" if running.poll() is not None else f"no 200 in {within:g} s"
    raise NotReadyError(f"{why}; last answer: {answer}; log: {log.read_text(errors='replace')[-600:]}")


def _ask(call: Call) -> tuple[int, str]:
    """Status and beginning of the answer to one small request."""
    connection = http.client.HTTPConnection("127.0.0.1", call.port, timeout=10)
    body = json.dumps({"model": call.model, "messages": [{"role": "user", "content": "Hi"}]})
    try:
        connection.request("POST", call.path, body, {**call.headers, "content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()[:300].decode(errors="replace")
    finally:
        connection.close()
