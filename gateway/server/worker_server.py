"""uvicorn's server in a worker: takes new configurations while it serves, and drains before it ends.

    news ── on_tick, ten times a second ──> adopt(news): one after the other, in a task

    SIGTERM ──> not ready, requests are served, connections close after their response      for `notice`
            ──> new requests get a 503, `/health/...` is served              until all in flight are over
            ──> at `limit`, or then: no new connections, streams end with an error event, exit

The listening socket stays open while it drains, so that balancers see a 503 and no failed connection, and so that with
several workers no connection waits in the queue of a socket that no worker serves.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import uvicorn

from gateway.config import DrainSettings

WORKER = "worker"  # key of the worker in the lifespan state
STEP = 0.05  # seconds between two looks while it drains
FLUSHED = 2.0  # seconds for clients to take what was written when the worker stopped

_log = logging.getLogger("gateway")


class DrainingWorker(Protocol):
    """The worker as its server sees it."""

    @property
    def drain_settings(self) -> DrainSettings: ...

    async def adopt(self, news: Any) -> None:
        """Takes a configuration that was read again."""

    def drain(self) -> None:
        """Reports not ready. Still serves requests, but closes each connection after its response."""

    def refuse(self) -> None:
        """Rejects all requests except health checks."""

    def busy(self) -> int:
        """The number of client connections with a request."""


class WorkerServer(uvicorn.Server):
    """`news` are configurations that were read again; any thread may append. `hurried`: no notice is given, because
    the operator stopped the gateway with Ctrl-C."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.news: deque[Any] = deque()
        self.hurried = False
        self._adopting: asyncio.Task[None] | None = None
        self._second = 0

    @property
    def worker(self) -> DrainingWorker:
        worker: DrainingWorker = self.lifespan.state[WORKER]
        return worker

    async def on_tick(self, counter: int) -> bool:
        if self.news and (self._adopting is None or self._adopting.done()):
            self._adopting = asyncio.create_task(self._adopt())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began, worker = monotonic(), self.worker
        settings = worker.drain_settings
        worker.drain()
        await self._wait(lambda: self.hurried, began + min(settings.notice, settings.limit))
        worker.refuse()
        await self._wait(lambda: not worker.busy(), began + settings.limit)
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        if self.force_exit:
            return
        if cut := worker.busy():
            _log.warning("the drain limit is reached: %d requests in flight are ended", cut)
        await self.lifespan.shutdown()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait(lambda: not self.server_state.connections, monotonic() + FLUSHED)
        for task in list(self.server_state.tasks):
            task.cancel()

    def each_second(self) -> None:
        """Called while it drains."""

    async def _wait(self, over: Callable[[], bool], deadline: float) -> None:
        while not (over() or self.force_exit or monotonic() >= deadline):
            if int(monotonic()) != self._second:
                self._second = int(monotonic())
                self.each_second()
                await uvicorn.Server.on_tick(self, 0)  # renews the date of responses
            await asyncio.sleep(STEP)

    async def _adopt(self) -> None:
        while self.news:
            await self.worker.adopt(self.news.popleft())
