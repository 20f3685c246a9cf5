"""A plain TCP balancer: each connection goes to the next backend that accepts one.

client ──> Balancer ──next one; refused? the one after it──> backend
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle

from tests.support.closing import accepting

PIECE = 64 << 10  # bytes


class Balancer:
    """`refused` counts the connections that no backend accepted."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = 0
        self.refused = 0
        self.connections = 0
        self._ports = ports
        self._next = cycle(range(len(ports)))

    def __repr__(self) -> str:
        return f"<Balancer {self.connections} connections, {self.refused} refused>"

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, until both sides are done with it."""
        self.connections += 1
        try:
            backend = await self._backend()
            if backend is None:
                self.refused += 1
                return
            inner_reader, inner_writer = backend
            try:
                await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
            finally:
                inner_writer.close()
        finally:
            writer.close()

    async def _backend(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._next)
        for offset in range(len(self._ports)):
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self._ports[(first + offset) % len(self._ports)])
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way; the end of them ends that way only, unless it is an error."""
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


@asynccontextmanager
async def balanced(ports: Sequence[int]) -> AsyncIterator[Balancer]:
    """A balancer that listens."""
    balancer = Balancer(ports)
    server = await asyncio.start_server(balancer.carry, "127.0.0.1", 0, backlog=1024)
    balancer.port = server.sockets[0].getsockname()[1]
    async with accepting(server):
        yield balancer
