"""A plain TCP balancer for tests, health-checked as HAProxy's or Kubernetes' are.

    clients ──> Balancer ──round robin──> backends whose last checks of /health/ready were good
                    └── a backend that refuses a connection: the next one

It knows nothing of HTTP but its own checks: a connection stays at its backend to its end.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Self

from tests.support.closing import stop

INTERVAL = 0.2  # seconds between two checks
FALL, RISE = 2, 2  # checks in a row that take a backend out, or bring it in
WITHIN = 30.0  # seconds that a check may take: tests run on busy machines


class Backend:
    """One port of this machine. `up` says whether it gets connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.up = True
        self.taken = 0  # connections
        self._row = 0  # checks in a row that contradict `up`

    def checked(self, good: bool) -> None:
        self._row = 0 if good == self.up else self._row + 1
        if self._row >= (FALL if self.up else RISE):
            self.up, self._row = good, 0

    async def check(self) -> bool:
        try:
            async with asyncio.timeout(WITHIN):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                with closing(writer):  # also when the balancer ends first
                    writer.write(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    return (await reader.readline()).startswith(b"HTTP/1.1 200")
        except (OSError, TimeoutError):
            return False


class Balancer:
    """`async with Balancer(ports) as balancer: ... balancer.url`. `refused` counts clients that no backend took."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.backends = [Backend(port) for port in ports]
        self.refused = 0
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._checks = [asyncio.create_task(self._check(backend)) for backend in self.backends]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._checks, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._checks, *self._tasks, return_exceptions=True)
        await stop(self._server)

    async def _check(self, backend: Backend) -> None:
        while True:
            backend.checked(await backend.check())
            await asyncio.sleep(INTERVAL)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with closing(writer):
            backend = await self._connected()
            if backend is None:
                self.refused += 1
                writer.transport.abort()
                return
            await asyncio.gather(_pipe(reader, backend[1]), _pipe(backend[0], writer))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(2 * len(self.backends)):
            self._turn += 1
            backend = self.backends[self._turn % len(self.backends)]
            if not backend.up:
                continue
            with suppress(OSError):
                found = await asyncio.open_connection("127.0.0.1", backend.port)
                backend.taken += 1
                return found
        return None


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies bytes to the end of the stream, and then closes the other side."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
