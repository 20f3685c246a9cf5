"""A real HTTP proxy for CONNECT on loopback, which can fail in each way that a proxy fails.

    async with ConnectProxy({"novita.example": host.port}) as proxy:
        ... send through proxy.url; then proxy.connects == ["novita.example:443"]

It resolves names by its own table, so that tests use names that no DNS knows: a request that arrives went through it.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, Self

from tests.support.closing import stop

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Fault = Literal["", "stalls", "closes", "garbage", "no status", "endless head", "says more", "closes after", "cuts"]
WORDS: Mapping[Fault, bytes] = {
    "garbage": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no status": b"HTTP/1.1 ready\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X-Padding: 1\r\n" * 8000,
    "says more": ESTABLISHED + b"HTTP/1.1 200 OK\r\n\r\n",
    "closes after": ESTABLISHED,
}


class ConnectProxy:
    """`connects`: the authorities of CONNECT requests; `heads`: these requests; `sent`: bytes of clients in tunnels.

    `status` other than 200 refuses every tunnel; `reply` replaces the head of a 200; `fault` is what goes wrong.
    `cuts` closes a tunnel after the first bytes of the host.
    """

    def __init__(
        self, ports: Mapping[str, int], *, tls: ssl.SSLContext | None = None, login: str = "", host: str = "127.0.0.1"
    ) -> None:
        self._ports = ports
        self._tls = tls
        self._login = login  # the value of Proxy-Authorization
        self._host = host
        self.status = 200
        self.reply = ESTABLISHED
        self.fault: Fault = ""
        self.connects: list[str] = []
        self.heads: list[str] = []
        self.sent = b""
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://{'localhost' if self._tls else '127.0.0.1'}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop(self._server)
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Closes all connections."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        self.connects.append(head.split(" ")[1])
        if self.fault == "closes":
            return
        if self.fault == "stalls":
            await reader.read()
        elif self.fault in WORDS:
            writer.write(WORDS[self.fault])
            await writer.drain()
            if self.fault != "closes after":
                await reader.read()
        elif self._login and f"proxy-authorization: {self._login}".lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        elif self.status != 200:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 5\r\n\r\nsorry" % self.status)
            await writer.drain()
        else:
            await self._tunnel(reader, writer)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = self.connects[-1].rpartition(":")[0].strip("[]")
        host_reader, host_writer = await asyncio.open_connection("127.0.0.1", self._ports[name])
        self._writers.append(host_writer)
        writer.write(self.reply)
        up = asyncio.ensure_future(self._pump(reader, host_writer, up=True))
        self._tasks.add(up)
        await self._pump(host_reader, writer, up=False)
        up.cancel()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                self.sent += data if up else b""
                writer.write(data)
                await writer.drain()
                if self.fault == "cuts" and not up:
                    break
        writer.close()
