"""What a trial runs: hosts, a store of its own, and `gateway serve` in front of them, all on loopback.

Site: Fleet ── gateway (N workers) ── Store
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
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
        self._server.tend(time.monotonic())  # it has run for long: its backoff begins anew
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
async def site(folder: Path, fleet: Fleet, workers: int, **settings: Any) -> AsyncIterator[Site]:
    """Hosts, a store and one gateway; all end with this."""
    async with serving(fleet):
        with own_store(folder) as store:
            async with replica(folder, fleet.models, workers, store, **settings) as running:
                here = Site(fleet, running, store)
                await here.ready(workers)
                yield here


@contextmanager
def own_store(folder: Path) -> Iterator[OwnStore]:
    store = OwnStore(folder / "own-store")
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def replica(
    folder: Path, models: Mapping[str, Any], workers: int, store: OwnStore | None, **settings: Any
) -> AsyncIterator[Running]:
    """One gateway with a state folder of its own; its log is `folder/log`. Without `store` it runs its own."""
    folder.mkdir(exist_ok=True)
    arguments = ["--workers", str(workers), *(["--redis", store.url] if store else [])]
    session = end_with_parent(os.getpid())
    with (folder / "log").open("wb") as log:
        command = gateway_command(
            folder, {}, *arguments, stderr=log, session=session, within=READY_WITHIN, models=models, **settings
        )
        async with command as running:
            yield running
