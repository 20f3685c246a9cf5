"""A response that goes on while a page is open, compressed where the client accepts it.

pieces ──gzip, flushed after each──> send          the client leaves, or takes nothing for `PATIENCE` seconds: ended
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

PATIENCE = 20.0  # seconds for which a client may take nothing
GZIP = 16 + zlib.MAX_WBITS  # zlib's name for gzip's format
LEVEL = 6


class EventResponse:
    """An ASGI response: `pieces` as they come, each whole events. They are closed when the client has left; then
    `closed` is called."""

    def __init__(
        self, pieces: AsyncGenerator[bytes], headers: Mapping[str, str], gzip: bool, closed: Callable[[], None]
    ) -> None:
        self._pieces = pieces
        self._closed = closed
        self._headers = {**headers, "content-type": "text/event-stream", "x-accel-buffering": "no"}
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP) if gzip else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tasks = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            sent, _ = await asyncio.gather(*tasks, return_exceptions=True)
            self._closed()
        if isinstance(sent, Exception) and not isinstance(sent, TimeoutError):
            raise sent

    async def _send(self, send: Send) -> None:
        """TimeoutError when the client takes nothing more."""
        headers = self._headers if self._packer is None else {**self._headers, "content-encoding": "gzip"}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                async with asyncio.timeout(PATIENCE):
                    await send({"type": "http.response.body", "body": self._packed(piece), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _packed(self, piece: bytes) -> bytes:
        if self._packer is None:
            return piece
        return self._packer.compress(piece) + self._packer.flush(zlib.Z_SYNC_FLUSH)


async def _left(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
