"""Several worker processes: they are started, watched, replaced when they die, and ended together.

    alive ── answers pings ──> alive        ── silent for too long ──> killed ─┐
      └── dies ────────────────────────────────────────────────────────────────┴─> logged, counted ──> started again

Who dies young again and again is started again ever later. Of several processes only the supervisor gets SIGINT and
SIGHUP, which a terminal sends to all of them.
"""

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from time import monotonic

import uvicorn

from gateway.server.uvicorn_internals import STARTUP_FAILURE, Multiprocess, Process
from gateway.telemetry.metrics import count_deaths, forget_dead

OF_THE_TERMINAL = (signal.SIGINT, signal.SIGHUP)
SILENT = 60.0  # seconds without an answer to a ping, after which a worker counts as hung
YOUNG = 60.0  # seconds; who dies younger is started again later
SOONEST = 1.0  # seconds until the second start in a row, and
LATEST = 30.0  # until any other

_log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Calls:
    """What the supervisor wants called."""

    tend: Callable[[], None]  # twice a second
    say: Callable[[], None]  # once the workers are there
    draining: Callable[[], None]  # when the end begins


class Watch:
    """One place for a worker: its process, when it started, and whether it answers."""

    def __init__(self, process: Process, now: float) -> None:
        self.process = process
        self.started = now
        self.deaths = 0  # in a row, each of them young
        self.again_at: float | None = None  # when the next is started; None while one runs
        self._pinged: float | None = None  # since when an answer is due

    def replaced(self, process: Process, now: float) -> None:
        self.process, self.started, self.again_at, self._pinged = process, now, None, None

    def is_hung(self, now: float) -> bool:
        """Whether it has not answered for too long. Asks, and never waits."""
        pipe = self.process.parent_conn
        try:
            while pipe.poll(0):
                pipe.recv()
                self._pinged = None
            if self._pinged is None:
                pipe.send(b"ping")
                self._pinged = now
        except (OSError, EOFError):
            return False  # it is about to end: the next look sees that
        return now - self._pinged > SILENT

    def died(self, now: float) -> float:
        """Seconds until the next is started."""
        self.deaths = self.deaths + 1 if now - self.started < YOUNG else 1
        wait = 0.0 if self.deaths == 1 else min(LATEST, SOONEST * 2.0 ** (self.deaths - 2))
        self.again_at = now + wait
        return wait


class Workers(Multiprocess):
    """uvicorn's supervisor of processes, which says what happens to them."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], metrics: Path, calls: Calls) -> None:
        hangup = signal.getsignal(signal.SIGHUP)
        super().__init__(config, sockets)
        if hangup is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # started with nohup
        self._metrics = metrics
        self._calls = calls
        self._count_death = count_deaths(metrics)
        self._places: list[Watch] = []

    def init_processes(self) -> None:
        resource_tracker.ensure_running()  # its start, which comes with the first worker's, would lift the mask
        with _held_back():
            super().init_processes()
        now = monotonic()
        self._places = [Watch(process, now) for process in self.processes]
        self._calls.say()

    def keep_subprocess_alive(self) -> None:
        self._calls.tend()
        now = monotonic()
        for number, place in enumerate(self._places):
            if self.should_exit.is_set():
                return
            if place.again_at is None:
                self._look(place, now)
            if place.again_at is not None and now >= place.again_at and not self.should_exit.is_set():
                with _held_back():
                    process = Process(self.config, self.sockets)
                    process.start()
                place.replaced(process, now)
                self.processes[number] = process

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()  # or newcomers would wait for a worker until the last one has ended
        super().terminate_all()

    def join_all(self) -> None:
        self._calls.draining()
        for process in self.processes:
            while process.process.is_alive():
                process.process.join(0.1)
                if signal.SIGINT in self.signal_queue:
                    self._cut_off()

    def handle_hup(self) -> None:
        self.should_exit.set()

    def _look(self, place: Watch, now: float) -> None:
        process = place.process
        if process.process.is_alive():
            if not place.is_hung(now):
                return
            _log.error("worker %s has not answered for %.0f s and is killed", process.pid, SILENT)
        process.kill()
        process.process.join()
        forget_dead(self._metrics, process.pid or 0)
        if process.exitcode == STARTUP_FAILURE:
            _log.error("worker %s cannot start, the gateway ends", process.pid)
            self.should_exit.set()
            return
        self._count_death()
        wait = place.died(now)
        when = f"in {wait:.0f} s, it is death {place.deaths} in a row" if wait else "now"
        _log.error("worker %s died: %s; another is started %s", process.pid, _how(process.exitcode), when)

    def _cut_off(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        raise KeyboardInterrupt


def _how(code: int | None) -> str:
    """What an exit code says."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


@contextmanager
def _held_back() -> Iterator[None]:
    """A process that is started here never gets the terminal's signals; this one gets them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
