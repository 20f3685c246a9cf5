"""The supervisor: owns the state folder and the embedded store, starts and stops the workers.

    serve(settings): lock folder ─> embedded store (no Redis URL) ─> clear metrics ─> worker(s) ─> stop, in reverse

A single worker runs in the supervisor's own process; several are separate processes that share the listening socket.
The embedded store is started first and from the main thread, because it ends with the thread that started it. Only
serving processes import the app; a single worker does so while the store starts.

SIGINT and SIGTERM: drain, then exit; a second one exits at once. SIGHUP reads all files of the configuration again,
unless it says that the terminal was closed: then it drains, too. Without a signal they are read when one has changed.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_CORE, RLIMIT_NOFILE, getrlimit, setrlimit
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from gateway.config import LogFormat, Settings, usable
from gateway.config_source import ConfigSource
from gateway.config_watch import ConfigWatch
from gateway.configuration import Configuration
from gateway.errors import ConfigError
from gateway.server.host_check import EVERYWHERE
from gateway.server.log_format import log_to_stderr
from gateway.server.malloc import use_one_arena
from gateway.server.worker_server import WorkerServer
from gateway.server.workers import Callbacks, Workers
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.parent_death import end_this_with_parent
from gateway.telemetry.metrics import prepare_folder

if TYPE_CHECKING:
    from starlette.applications import Starlette

BACKLOG = 2048
TICKS = 10  # uvicorn's ticks per second
POLL_TICKS = 5  # ticks between two looks at the files of the configuration
LONGEST_LIST = 120  # characters of endpoint ids in one line of the log
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NO_START = "the server could not start; its log has the error"
MOST_DESCRIPTORS = 1 << 17

_log = logging.getLogger("gateway")


def serve(source: ConfigSource, configuration: Configuration) -> None:
    """Serves by this configuration from `source` until a signal. Raises ConfigError if it cannot start,
    KeyboardInterrupt if the drain was cut short."""
    settings = configuration.settings
    log_to_stderr(settings.log_format)
    use_one_arena()
    _allow_descriptors()
    setrlimit(RLIMIT_CORE, (0, getrlimit(RLIMIT_CORE)[1]))  # a core dump would hold all keys and prompts
    folder = StateFolder(settings.state)
    watch = ConfigWatch(source, configuration, folder.path)
    with listening(settings.host, settings.port) as listener, _opened(folder), _store(settings, folder) as store:
        store_url, tend = store
        prepare_folder(folder.metrics)
        app_of = partial(partial, _worker, settings.log_format, folder.path, store_url, os.getpid())
        config = uvicorn.Config(
            app_of(watch.current),
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
            backlog=BACKLOG,
            workers=settings.workers,
        )
        say = partial(_log_startup, settings, listener)
        callbacks = Callbacks(
            tend, say, partial(_log_draining, watch), partial(_ends_on_hangup, watch, _has_terminal()), watch.poll
        )
        if settings.workers == 1:
            Server(config, callbacks).run(sockets=[listener])
        else:
            workers = Workers(config, [listener], folder.metrics, callbacks, partial(_app_of_news, app_of))
            workers.run()
            if workers.failed:
                raise ConfigError(NO_START)
    _log.info("stopped")


class Server(WorkerServer):
    """The server of the only worker, in the supervisor's own process, which exits normally on a signal."""

    def __init__(self, config: uvicorn.Config, callbacks: Callbacks) -> None:
        super().__init__(config)
        self._callbacks = callbacks
        self._hung_up = False  # SIGHUP arrived since the last tick
        self._polling: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn has logged the error
            raise ConfigError(NO_START) from None
        if self.started:
            self._callbacks.started()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            self._callbacks.tend()
        if self._hung_up:
            self._hung_up = False
            self.should_exit |= self._callbacks.hung_up()
        if counter % POLL_TICKS == 0 and (self._polling is None or self._polling.done()):
            self._polling = asyncio.create_task(self._poll())
        return await super().on_tick(counter)

    async def _poll(self) -> None:
        if news := await asyncio.to_thread(self._callbacks.poll):
            self.news.append(news)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGHUP:
            self._hung_up = True  # the rest is not for a signal handler: it logs
            return
        self.force_exit = self.should_exit
        self.should_exit = True
        self.hurried |= sig == signal.SIGINT

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in HANDLED}
        for number in _not_ignored(before):
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in _not_ignored(before):
                signal.signal(number, before[number])

    def each_second(self) -> None:
        self._callbacks.tend()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if self.force_exit:
            raise KeyboardInterrupt

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._callbacks.draining()
        await super().shutdown(sockets)
        if self.force_exit:
            logging.getLogger("uvicorn.error").disabled = True  # errors of requests that are cut off are expected


def _app_of_news(
    app_of: "Callable[[Configuration], Callable[[], Starlette]]", news: object
) -> "Callable[[], Starlette] | None":
    return app_of(news) if isinstance(news, Configuration) else None


def _worker(
    log_format: LogFormat, state: Path, store_url: str, supervisor: int, configuration: Configuration
) -> "Starlette":
    """The app of one worker. The worker's process ends with the supervisor's."""
    from gateway.app import build

    if os.getpid() != supervisor:
        log_to_stderr(log_format, is_worker=True)
        end_this_with_parent(supervisor)
    return build(configuration, state, store_url)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket. Raises ConfigError if the port is in use or the address is not one of this machine's."""
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
    """The store's URL, and the function to call every second. Runs the embedded store if no other is configured."""
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


def _not_ignored(handlers: Mapping[signal.Signals, object]) -> list[signal.Signals]:
    """The signals that the parent process has not set to be ignored, as `nohup` does with SIGHUP."""
    return [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]


def _has_terminal() -> bool:
    """Whether a terminal controls this process. One that was closed does not any more."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _ends_on_hangup(watch: ConfigWatch, had_terminal: bool) -> bool:
    """Whether SIGHUP says that the terminal was closed. If not, the files are read again."""
    if had_terminal and not _has_terminal():
        return True
    watch.request_reload()
    return False


def _allow_descriptors() -> None:
    """Raises the limit on file descriptors: each client connection takes one, and so does each connection to a host."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != RLIM_INFINITY and soft < wanted:
        setrlimit(RLIMIT_NOFILE, (wanted, hard))


def _log_startup(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    page = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    _log.info("listening on %s, model page at %s/", _url(host, port), _url(page, port))
    for model in settings.models:
        names = [endpoint.id for endpoint in usable(model, settings.secrets)]
        _log.info("%s: endpoints in use (%d): %s", model.id, len(names), _listed(names))
    if settings.host in EVERYWHERE and not settings.keys:
        _log.warning(
            "without keys anyone who can reach this gateway spends your money; it accepts requests whose Host is an IP"
            " address or a name in `allowed_hosts`"
        )
    if settings.keys and settings.admin is None and not settings.is_local:
        _log.warning("the model page and /metrics are open to anyone who can reach this gateway; set GATEWAY_ADMIN_KEY")
    store = "Redis" if settings.redis_url else "embedded, for this machine only"
    _log.info("default policy %s, store %s, %d worker(s)", settings.default_policy, store, settings.workers)


def _listed(names: Sequence[str]) -> str:
    """The names that fit into one log line, and the number of the others."""
    reaches = accumulate(len(name) + len(", ") for name in names)
    fits = sum(reach <= LONGEST_LIST for reach in reaches)
    more = f" and {len(names) - fits} more" if fits < len(names) else ""
    return f"{', '.join(names[:fits])}{more}"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _log_draining(watch: ConfigWatch) -> None:
    limit = watch.current.settings.drain.limit
    _log.info("draining: requests in flight get up to %g s; a second signal cuts them off", limit)
