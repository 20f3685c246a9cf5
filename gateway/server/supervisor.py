"""The supervisor: owns the state folder and the embedded store, starts the workers, ends them.

    serve(settings): lock folder ─> embedded store (no Redis URL) ─> clear metrics ─> worker(s) ─> stop, in reverse

One worker runs in the supervisor's own process; several are processes of their own that share the listening socket.
The embedded store starts first and from the main thread: it ends with the thread that started it. Only a process that
serves loads the app; that of one worker does so while the store starts.

SIGINT, SIGTERM and SIGHUP (the terminal was closed) mean: drain, then end. A second SIGINT ends at once. Of several
processes only the supervisor hears SIGINT and SIGHUP, which a terminal sends to all of them.
"""

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import accumulate
from multiprocessing import resource_tracker
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.config import Settings, usable
from gateway.errors import ConfigError
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.lifeline import tie_self
from gateway.telemetry.metrics import forget_dead, prepare_folder

if TYPE_CHECKING:
    from starlette.applications import Starlette

DRAIN = 100  # seconds that open requests get when the gateway is told to end
KEEP_ALIVE = 75  # seconds that an idle client connection is kept: longer than proxies in front usually do
BACKLOG = 2048
TICKS = 10  # of uvicorn's server, in a second
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WORKER_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"
LONGEST_LIST = 120  # characters of endpoint ids in one line of the log
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OF_THE_TERMINAL = (signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger("gateway")


def serve(settings: Settings) -> None:
    """Serves until a signal. Raises ConfigError when it cannot start, KeyboardInterrupt when it was not let drain."""
    _log_to_stderr(FORMAT)
    folder = StateFolder(settings.state)
    with listening(settings.host, settings.port) as listener, _opened(folder), _store(settings, folder) as store:
        store_url, tend = store
        prepare_folder(folder.metrics)
        app = partial(_worker, settings, folder.path, store_url, os.getpid())
        config = uvicorn.Config(
            app,
            factory=True,
            loop="uvloop",
            http="gateway.server.protocol:HotProtocol",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN,
            timeout_keep_alive=KEEP_ALIVE,
            backlog=BACKLOG,
            workers=settings.workers,
        )
        say = partial(_say_how, settings, listener)
        if settings.workers == 1:
            Server(config, tend, say).run(sockets=[listener])
        else:
            Workers(config, [listener], folder.metrics, tend, say).run()
    _log.info("ended")


class Server(uvicorn.Server):
    """uvicorn's server, for which a signal is a way to end and no failure.

    It calls `say` once it serves, and `tend` every second.
    """

    def __init__(self, config: uvicorn.Config, tend: Callable[[], None], say: Callable[[], None]) -> None:
        super().__init__(config)
        self._tend = tend
        self._say = say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            self._tend()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in ENDING}
        for number in _heeded(before):
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in _heeded(before):
                signal.signal(number, before[number])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if self.force_exit:
            raise KeyboardInterrupt

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _say_draining()
        await super().shutdown(sockets)
        if self.force_exit:
            logging.getLogger("uvicorn.error").disabled = True  # that what is cut off did not end well is no news


class Workers(Multiprocess):
    """uvicorn's supervisor of processes, which replaces a worker that died; its gauges go with it.

    It calls `say` once its workers are there, and `tend` twice a second.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        metrics: Path,
        tend: Callable[[], None],
        say: Callable[[], None],
    ) -> None:
        hangup = signal.getsignal(signal.SIGHUP)
        super().__init__(config, sockets)
        if hangup is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # started with nohup
        self._metrics = metrics
        self._tend = tend
        self._say = say

    def init_processes(self) -> None:
        resource_tracker.ensure_running()  # its start, which comes with the first worker's, would lift the mask
        with _held_back():
            super().init_processes()
        self._say()

    def keep_subprocess_alive(self) -> None:
        self._tend()
        before = {process.pid for process in self.processes}
        with _held_back():
            super().keep_subprocess_alive()
        for pid in before.difference(process.pid for process in self.processes):
            forget_dead(self._metrics, pid or 0)

    def join_all(self) -> None:
        _say_draining()
        for process in self.processes:
            while process.process.is_alive():
                process.process.join(0.1)
                if signal.SIGINT in self.signal_queue:
                    self._cut_off()

    def handle_hup(self) -> None:
        self.should_exit.set()

    def _cut_off(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        raise KeyboardInterrupt


def _worker(settings: Settings, state: Path, store_url: str, supervisor: int) -> "Starlette":
    """The app of one worker, whose process ends with the supervisor's."""
    from gateway.app import build

    if os.getpid() != supervisor:
        _log_to_stderr(WORKER_FORMAT)
        tie_self(supervisor)
    return build(settings, state, store_url)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises ConfigError when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; uvloop sets it on all
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        other = "--port, or 0 for any free one" if error.errno == errno.EADDRINUSE else "--host or --port"
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another {other}") from None
    listener.set_inheritable(True)
    with listener:
        yield listener


@contextmanager
def _opened(folder: StateFolder) -> Iterator[None]:
    folder.open()
    try:
        yield
    finally:
        folder.close()


@contextmanager
def _store(settings: Settings, folder: StateFolder) -> Iterator[tuple[str, Callable[[], None]]]:
    """The store's URL, and what to call every second; the embedded one runs meanwhile when no other is configured."""
    if settings.redis_url:
        yield settings.redis_url, folder.tend
        return
    store = EmbeddedStore(folder)

    def tend() -> None:
        folder.tend()
        store.tend(monotonic())

    try:
        yield store.start(partial(import_module, "gateway.app") if settings.workers == 1 else None), tend
    finally:
        store.stop()


@contextmanager
def _held_back() -> Iterator[None]:
    """A process that is started here never gets the terminal's signals; this one gets them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heeded(handlers: Mapping[signal.Signals, object]) -> list[signal.Signals]:
    """All but those that whoever started this wants ignored, as `nohup` does."""
    return [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]


def _log_to_stderr(line: str) -> None:
    logging.basicConfig(level=logging.INFO, format=line, stream=sys.stderr)


def _say_how(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    page = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    _log.info("listening on %s, model page at %s/", _url(host, port), _url(page, port))
    for model in settings.models:
        names = [endpoint.id for endpoint in usable(model, settings.secrets)]
        _log.info("%s: endpoints in use (%d): %s", model.id, len(names), _listed(names))
    store = "Redis" if settings.redis_url else "embedded, for this machine only"
    _log.info("default policy %s, store %s, %d worker(s)", settings.default_policy, store, settings.workers)


def _listed(names: Sequence[str]) -> str:
    """As many names as one line takes, and how many there are beside."""
    reaches = accumulate(len(name) + len(", ") for name in names)
    fits = sum(reach <= LONGEST_LIST for reach in reaches)
    more = f" and {len(names) - fits} more" if fits < len(names) else ""
    return f"{', '.join(names[:fits])}{more}"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say_draining() -> None:
    _log.info("draining: answers under way get up to %d s, a second Ctrl-C cuts them off", DRAIN)
