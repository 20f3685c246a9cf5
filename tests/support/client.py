"""A client that says exactly what it is told to, byte by byte, and shows exactly what came back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any
from urllib.parse import urlsplit

from tests.support.gateway import Running

GUARD = 60.0  # seconds
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"


def question(**fields: Any) -> bytes:
    """The body of a chat completion."""
    return json.dumps({"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()


def request(body: bytes, *lines: bytes, head: bytes = CHAT) -> bytes:
    """A whole request with this body and these header lines besides its length."""
    return head + b"".join(line + b"\r\n" for line in (*lines, b"content-length: %d" % len(body), b"")) + body


class Connection:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def head(self) -> bytes:
        """The next head as it came, with its blank line."""
        async with asyncio.timeout(GUARD):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; nothing at its end."""
        async with asyncio.timeout(GUARD):
            data = await self.reader.readexactly(int(await self.reader.readline(), 16))
            await self.reader.readexactly(2)
            return data

    async def body(self, head: bytes) -> bytes:
        """The whole body that follows this head."""
        if (length := fields(head).get("content-length")) is not None:
            async with asyncio.timeout(GUARD):
                return await self.reader.readexactly(int(length))
        parts = b""
        while part := await self.chunk():
            parts += part
        return parts

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        head = await self.head()
        return int(head.split(b" ", 2)[1]), fields(head), await self.body(head)

    async def closed(self) -> bool:
        async with asyncio.timeout(GUARD):
            return await self.reader.read(1) == b""


def fields(head: bytes) -> dict[str, str]:
    """The header fields of a head, in lower case."""
    return dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)


@asynccontextmanager
async def connected(running: Running) -> AsyncIterator[Connection]:
    address = urlsplit(running.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    with closing(writer):  # also when the test fails
        yield Connection(reader, writer)
