"""Several worker processes: started, health-checked, restarted when they die, and stopped together.

    alive ── answers pings ──> alive        ── no pong for too long ──> killed ─┐
      └── dies ─────────────────────────────────────────────────────────────────┴─> logged, counted ──> restarted

A worker that keeps dying soon after its start is restarted with exponential backoff. Only the supervisor handles SIGINT
and SIGHUP, which a terminal sends to all processes of its group.
"""

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from time import monotonic
from typing import cast

import uvicorn

from gateway.server.crash_loop import CrashLoop
from gateway.server.malloc import use_one_arena
from gateway.server.oom_kills import OomKills
from gateway.server.uvicorn_internals import STARTUP_FAILURE, Multiprocess, Process
from gateway.server.worker_server import WorkerServer
from gateway.telemetry.metrics import count_deaths, forget_dead

OF_THE_TERMINAL = (signal.SIGINT, signal.SIGHUP)
OF_A_BACKGROUND_JOB = (signal.SIGTTIN, signal.SIGTTOU)  # that reads from the terminal, or writes to it
HURRY = b"hurry"  # to a worker: Ctrl-C, no notice is given
SILENT = 60.0  # seconds without an answer to a ping, after which a worker is considered hung
STARTING = 600.0  # the same before its first answer: on a starved machine a process takes long to start
LONGEST_LOOK = 1.0  # seconds that count at most between two checks: the supervisor itself may be starved or frozen
LOOP = 3  # deaths in a row that make a crash loop
YOUNG = 60.0  # seconds: a worker that dies younger is restarted with a backoff
SOONEST = 1.0  # seconds: first backoff
LATEST = 30.0  # seconds: longest backoff

_log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Callbacks:
    """The supervisor's callbacks."""

    tend: Callable[[], None]  # every second or so
    started: Callable[[], None]  # once the workers have been started
    draining: Callable[[], None]  # when the shutdown begins
    hung_up: Callable[[], bool]  # at SIGHUP: whether to stop
    poll: Callable[[], object | None]  # twice a second: news of the configuration


class WorkerProcess(Process):
    """One worker: takes configurations over the pipe of the pings."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        use_one_arena()  # before the thread that answers pings starts
        self._server = WorkerServer(self.config)  # which that thread uses
        super().target(sockets)

    def pong(self) -> None:
        message = self.child_conn.recv()
        server = cast(WorkerServer, self.server)
        if message == b"ping":
            self.child_conn.send(server.started)
        elif message == HURRY:
            server.hurried = True
        else:
            server.news.append(message)


class WorkerSlot:
    """One worker slot: its process, when that was started, and whether it answers pings."""

    def __init__(self, process: Process, now: float) -> None:
        self.process = process
        self.started = now
        self.deaths = 0  # consecutive deaths, each younger than `YOUNG`
        self.again_at: float | None = None  # when to restart it; None while it runs
        self._answered = False  # whether it has answered a ping since its start
        self._waits = False  # whether a ping is unanswered
        self._silent = 0.0  # seconds since that ping, as far as they count
        self._looked = now
        self._news: dict[type, object] = {}  # not yet sent, in order

    def replaced(self, process: Process, now: float) -> None:
        self.process, self.started, self.again_at = process, now, None
        self._answered = self._waits = False
        self._news.clear()

    def post(self, news: object) -> None:
        """Sends this to the worker, in place of news of its type that were not yet sent."""
        self._news.pop(type(news), None)
        self._news[type(news)] = news

    def is_looping(self, now: float) -> bool:
        """Whether it crashes in a loop."""
        return self.deaths >= LOOP and (self.again_at is not None or now - self.started < YOUNG)

    def is_hung(self, now: float) -> bool:
        """Whether a ping has been unanswered for too long. Sends pings and never blocks.

        A thread of the worker answers, so a busy event loop does not make it silent.
        """
        pipe = self.process.parent_conn
        self._silent += min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        try:
            while pipe.poll(0):
                pipe.recv()
                self._answered, self._waits = True, False
            if not self._waits:
                for news in self._news.values():
                    pipe.send(news)  # does not block: the worker has read all that was sent before
                self._news.clear()
                pipe.send(b"ping")
                self._waits, self._silent = True, 0.0
        except (OSError, EOFError):
            return False  # it is exiting, which the next check finds
        return self._silent > (SILENT if self._answered else STARTING)

    def died(self, now: float) -> float:
        """Records a death. Returns the seconds until the restart."""
        self.deaths = self.deaths + 1 if now - self.started < YOUNG else 1
        wait = 0.0 if self.deaths == 1 else min(LATEST, SOONEST * 2.0 ** (self.deaths - 2))
        self.again_at = now + wait
        return wait


class Workers(Multiprocess):
    """uvicorn's process supervisor, with logs, a metric, a restart backoff, and reloads of the configuration.

    `app_of` returns the factory of the app by a new configuration; None for news of a rejected one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        metrics: Path,
        callbacks: Callbacks,
        app_of: Callable[[object], Callable[[], object] | None],
    ) -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGHUP, *OF_A_BACKGROUND_JOB)}
        super().__init__(config, sockets)
        for number in OF_A_BACKGROUND_JOB:  # uvicorn would start and stop workers, of which there are no slots
            signal.signal(number, before[number])
        if before[signal.SIGHUP] is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # started with nohup
        self.failed = False  # whether a worker could not start
        self._metrics = metrics
        self._app_of = app_of
        self._hurried = False  # stopped with Ctrl-C
        self._trouble: CrashLoop | None = None  # as the workers know it
        self._rejected: object | None = None  # the news of a configuration that is not in force
        self._callbacks = callbacks
        self._count_death = count_deaths(metrics)
        self._oom_kills = OomKills()
        self._places: list[WorkerSlot] = []

    def init_processes(self) -> None:
        resource_tracker.ensure_running()  # else it starts with the first worker, and that would reset the signal mask
        with _signals_blocked():
            for _ in range(self.processes_num):
                self.processes.append(self._started())
        now = monotonic()
        self._places = [WorkerSlot(process, now) for process in self.processes]
        self._callbacks.started()

    def keep_subprocess_alive(self) -> None:
        self._callbacks.tend()
        self._reload()
        now = monotonic()
        for number, place in enumerate(self._places):
            if self.should_exit.is_set():
                return
            if place.again_at is None:
                self._look(place, now)
            if place.again_at is not None and now >= place.again_at and not self.should_exit.is_set():
                with _signals_blocked():
                    process = self._started()
                place.replaced(process, now)
                for news in (self._rejected, self._trouble):
                    if news is not None:
                        place.post(news)
                self.processes[number] = process
        self._tell(now)

    def _started(self) -> WorkerProcess:
        process = WorkerProcess(self.config, self.sockets)
        process.start()
        return process

    def _reload(self) -> None:
        """Sends a changed configuration to every worker, and keeps it for those that start later."""
        if (news := self._callbacks.poll()) is None:
            return
        app = self._app_of(news)
        self._rejected = news if app is None else None
        if app is not None:
            self.config.app = app
        for place in self._places:
            place.post(news)

    def _tell(self, now: float) -> None:
        """Reports to the workers when some of them begin to crash in a loop, and when that is over."""
        looping = sum(place.is_looping(now) for place in self._places)
        reason = f"{looping} of {len(self._places)} workers die again and again; the log has the cause"
        trouble = CrashLoop(reason if looping else "")
        if trouble != (self._trouble or CrashLoop("")):
            self._trouble = trouble
            for place in self._places:
                place.post(trouble)

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()  # the workers have their own, until the last one exits
        for process in self.processes:
            if self._hurried and process.process.is_alive():
                with suppress(OSError):
                    process.parent_conn.send(HURRY)
        super().terminate_all()

    def join_all(self) -> None:
        self._callbacks.draining()
        for process in self.processes:
            while process.process.is_alive():
                process.process.join(0.1)
                if {signal.SIGINT, signal.SIGTERM}.intersection(self.signal_queue):
                    self._cut_off()
                self._callbacks.tend()

    def handle_int(self) -> None:
        self._hurried = True
        super().handle_int()

    def handle_hup(self) -> None:
        if self._callbacks.hung_up():
            self.should_exit.set()

    def _look(self, place: WorkerSlot, now: float) -> None:
        process = place.process
        if process.process.is_alive():
            if not place.is_hung(now):
                return
            _log.error("worker %s does not respond and is killed", process.pid)
        process.kill()
        process.process.join()
        forget_dead(self._metrics, process.pid or 0)
        if process.exitcode == STARTUP_FAILURE:
            _log.error("worker %s cannot start; the gateway exits", process.pid)
            self.failed = True
            self.should_exit.set()
            return
        self._count_death()
        wait = place.died(now)
        when = f"in {wait:.0f} s (death {place.deaths} in a row)" if wait else "now"
        how = _how(process.exitcode, oom_killed=self._oom_kills.seen())
        _log.error("worker %s died: %s; restarting %s", process.pid, how, when)

    def _cut_off(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        raise KeyboardInterrupt


def _how(code: int | None, *, oom_killed: bool = False) -> str:
    """An exit code in words. `oom_killed`: the kernel has just killed a process for lack of memory."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return f"signal {name}" + (", out of memory" if oom_killed and -code == signal.SIGKILL else "")


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Blocks the terminal's signals, so that a process started here inherits that; this process gets them later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
