"""What a trial runs: hosts, a store of its own, and `gateway serve` in front of them, all on loopback.

Site: Fleet ── gateway (N workers) ── Store
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.parent_death import end_with_parent
from tests.reliability.hosts import Fleet, serving
from tests.support.gateway import Running, gateway_command
from tests.support.processes import command_of, descendants

WORKER = "spawn_main"  # in the command of each worker's process
READY_WITHIN = 180.0  # seconds: the machine may be busy


class OwnStore:
    """A Valkey with an append-only file, which a trial kills and restarts."""

    def __init__(self, path: Path) -> None:
        folder = StateFolder(path)
        folder.open()
        self._folder = folder
        self._server = EmbeddedStore(folder)
        self.url = self._server.start()

    def __repr__(self) -> str:
        return f"<OwnStore {self.url}>"

    @property
    def pid(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            return int(client.info("server")["process_id"])

    def keys(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            return int(client.dbsize())

    async def kill(self, seconds: float) -> None:
        """SIGKILL; it listens again after about this time."""
        os.kill(self.pid, signal.SIGKILL)
        await asyncio.sleep(seconds)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            self._server.tend(time.monotonic())
            await asyncio.sleep(0.2)
            with suppress(redis.ConnectionError):
                if self.pid:
                    return

    def close(self) -> None:
        self._server.stop()
        self._folder.close()


@dataclass
class Site:
    """A gateway in front of its hosts. `store` is None where the gateway runs its own."""

    fleet: Fleet
    running: Running
    store: OwnStore | None = None

    @property
    def port(self) -> int:
        return int(urlsplit(self.running.url).port or 0)

    @property
    def pid(self) -> int:
        assert self.running.process is not None
        return self.running.process.pid

    def workers(self) -> list[int]:
        """The processes that serve: the workers, or with one worker the gateway itself."""
        found = []
        for pid in descendants(self.pid):
            with suppress(OSError):  # it ended meanwhile
                if WORKER in command_of(pid):
                    found.append(pid)
        return sorted(found) or [self.pid]

    async def ready(self, workers: int) -> None:
        """Wait until all workers run and the gateway is ready."""
        async with asyncio.timeout(READY_WITHIN):
            while len(self.workers()) < workers or (await self._ready()) != 200:
                await asyncio.sleep(0.1)

    async def _ready(self) -> int:
        return (await self.running.client.get("/health/ready")).status_code


@asynccontextmanager
async def site(folder: Path, fleet: Fleet, workers: int, *, store: bool = True, **settings: Any) -> AsyncIterator[Site]:
    """Hosts, store and gateway; all end with this. The gateway's log is `folder/log`."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(fleet))
        own = OwnStore(folder / "own-store") if store else None
        arguments = ["--workers", str(workers)]
        if own:
            stack.callback(own.close)
            arguments += ["--redis", own.url]
        log = stack.enter_context((folder / "log").open("wb"))
        command = gateway_command(
            folder,
            {},
            *arguments,
            stderr=log,
            session=end_with_parent(os.getpid()),
            models=fleet.models,
            **settings,
        )
        here = Site(fleet, await stack.enter_async_context(command), own)
        await here.ready(workers)
        yield here
