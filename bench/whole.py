"""Instructions of the whole process: `gateway serve` under valgrind, with sockets, a host and clients.

    start ─> ready ─> warm-up ─> the run's load ─> idle until SECONDS have passed ─> stop ─> count

A run of `base` and one with more requests or more events differ in nothing else. Both last equally long, so what is
done once a second falls out, like start and end.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import process
from bench.host import ROOT, MockHost, mock_host
from bench.launch import Site
from bench.load import OPENROUTER, Call, Load, run
from bench.measure import await_ready, free_ports
from bench.subjects import ours

VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")
KEY = "sk-bench-bench-bench-bench-bench-bench"
SECONDS = 60.0
READY_WITHIN = 240.0  # seconds
STREAMS, AT_ONCE, INTERVAL = 24, 8, 0.025  # few at once, so that hardly two events come in one read
SHORT, LONG = 20, 420  # events of a stream


@dataclass(frozen=True, slots=True)
class Run:
    """The load of a run. `requests` are of 1 KB, `relayed` and `rewritten` the events of each stream."""

    requests: int = 200
    relayed: int = SHORT
    rewritten: int = SHORT


BASE = Run()
RUNS = {
    "whole": (replace(BASE, requests=2200), 2000),
    "paced": (replace(BASE, relayed=LONG), STREAMS * (LONG - SHORT)),
    "rewritten": (replace(BASE, rewritten=LONG), STREAMS * (LONG - SHORT)),
}


def whole_process(cases: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Each case that can be counted so, and the instructions of one request or event."""
    known = [case for case in cases if case in RUNS]
    if known:
        base = instructions(BASE)
        for case in known:
            more, units = RUNS[case]
            yield case, (instructions(more) - base) / units


def instructions(load: Run) -> int:
    """Of a gateway that serves this load."""
    with TemporaryDirectory(prefix="bench-") as name, mock_host(Path(name), process.processors()[1], False) as host:
        folder = Path(name)
        port, spare = free_ports()
        site = Site(folder, folder, port, spare, host.port, None, host.certificate, KEY)
        with _counted(site) as running:
            call = Call(port, {"authorization": f"Bearer {KEY}"})
            await_ready(running, call, folder / "log", READY_WITHIN)
            until = time.monotonic() + SECONDS
            _serve(load, call, host)
            idle = until - time.monotonic()
            if idle < 0:
                raise SystemExit(f"the machine is too busy: the load took {-idle:.0f} s longer than a run lasts")
            time.sleep(idle)
        return max(int(count.replace(",", "")) for count in _counts(folder))


@contextmanager
def _counted(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """Our gateway under valgrind, which writes a file `*.count` for each process; the store is left out."""
    launch = ours(site)
    options = ["--trace-children=yes", "--trace-children-skip=*valkey*", f"--log-file={site.folder}/%p.count"]
    environ: Mapping[str, str] = {**launch.environ, "PYTHONHASHSEED": "0"}
    running = process.start(
        [*VALGRIND, *options, *launch.command], environ, site.folder / "log", process.processors()[0], ROOT
    )
    try:
        yield running
        running.terminate()
        running.wait(READY_WITHIN)
    finally:
        process.stop(running)


def _counts(folder: Path) -> list[str]:
    return [found[1] for path in folder.glob("*.count") if (found := COUNTED.search(path.read_text()))]


def _serve(load: Run, call: Call, host: MockHost) -> None:
    parts = [Load(call, AT_ONCE, seconds=SECONDS, requests=load.requests)]
    _run(parts[0], host, 0)
    for path, events in ((call.path, load.relayed), (OPENROUTER, load.rewritten)):
        streams = replace(call, stream=True, path=path)
        _run(Load(streams, AT_ONCE, seconds=SECONDS, requests=STREAMS, spread=INTERVAL), host, events)


def _run(load: Load, host: MockHost, events: int) -> None:
    host.behave(chunks=events, interval=INTERVAL)
    result = run(load)
    if result.errors:
        raise SystemExit(f"{result.errors} requests failed under valgrind: {result.first_error}")
