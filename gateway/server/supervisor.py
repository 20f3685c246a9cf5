"""The supervisor: owns the state folder and the embedded store, starts the workers, ends them.

    serve(settings): lock folder ─> embedded store (no Redis URL) ─> clear metrics ─> worker(s) ─> stop, in reverse

One worker runs in the supervisor's own process; several are processes of their own that share the listening socket.
The embedded store starts first and from the main thread: it ends with the thread that started it.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from gateway.app import build
from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.server.protocol import HotProtocol
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.lifeline import tie_self
from gateway.telemetry.metrics import forget_dead, prepare_folder

DRAIN = 100  # seconds that open requests get when the gateway is told to end
KEEP_ALIVE = 75  # seconds that an idle client connection is kept: longer than proxies in front usually do
BACKLOG = 2048

_log = logging.getLogger("gateway")


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM. Raises ConfigError when it cannot start."""
    folder = StateFolder(settings.state)
    with listening(settings.host, settings.port) as listener, _opened(folder), _store(settings, folder) as store_url:
        prepare_folder(folder.metrics)
        app = partial(_worker, settings, folder.path, store_url, os.getpid())
        config = uvicorn.Config(
            app,
            factory=True,
            loop="uvloop",
            http=HotProtocol,
            ws="none",
            lifespan="on",
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
        _say_where(settings, listener, store_url)
        if settings.workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            Workers(config, [listener], folder.metrics).run()


class Workers(Multiprocess):
    """uvicorn's supervisor of processes, which replaces a worker that died; its gauges go with it."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], metrics: Path) -> None:
        super().__init__(config, sockets)
        self._metrics = metrics

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before.difference(process.pid for process in self.processes):
            forget_dead(self._metrics, pid or 0)


def _worker(settings: Settings, state: Path, store_url: str, supervisor: int) -> Starlette:
    """The app of one worker, whose process ends with the supervisor's."""
    if os.getpid() != supervisor:
        tie_self(supervisor)
    return build(settings, state, store_url)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises ConfigError when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None
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
def _store(settings: Settings, folder: StateFolder) -> Iterator[str]:
    """The store's URL; the embedded one runs meanwhile when no other is configured."""
    if settings.redis_url:
        yield settings.redis_url
        return
    store = EmbeddedStore(folder)
    try:
        yield store.start()
    finally:
        store.stop()


def _say_where(settings: Settings, listener: socket.socket, store_url: str) -> None:
    host, port = listener.getsockname()[:2]
    store = "embedded, for this machine only" if store_url.startswith("unix://") else "Redis"
    _log.info("listening on http://%s:%d, %d worker(s), store: %s", host, port, settings.workers, store)
