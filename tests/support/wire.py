"""A TCP proxy in front of a unix socket that can swallow what the server says, and a server that talks nonsense."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from tests.support.closing import accepting


class Wire:
    """Passes bytes both ways; while `held`, the server's bytes wait here."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.held = 0  # bytes that wait
        self._open = asyncio.Event()
        self._open.set()
        self._ended: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def carry(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._ended.append(writer)
        with closing(writer):  # also when the test ends first
            inner_reader, inner_writer = await asyncio.open_unix_connection(path)
            self._ended.append(inner_writer)
            with closing(inner_writer):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, inner_writer, always=True))
                    tasks.create_task(self._pump(inner_reader, writer, always=False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, always: bool) -> None:
        try:
            while data := await reader.read(65536):
                if not always:
                    self.held = len(data)
                    await self._open.wait()
                    self.held = 0
                writer.write(data)
        except OSError:
            pass
        writer.close()

    def close(self) -> None:
        self.release()
        for writer in self._ended:
            writer.close()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A `Wire` to the server at a `unix://` URL."""
    proxy = Wire()
    path = url.removeprefix("unix://")
    server = await asyncio.start_server(lambda r, w: proxy.carry(path, r, w), "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with accepting(server):
        try:
            yield proxy
        finally:
            proxy.close()


@asynccontextmanager
async def talker(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """A server that answers whatever it reads with `answer(what it read)`; gives its redis:// URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(65536):
                writer.write(answer(said))
        except OSError:
            pass
        finally:
            writer.close()  # also when the test ends first

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with accepting(server):
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
