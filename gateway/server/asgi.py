"""The ASGI sink: any server, any route.

    receive ── body ──> handler(inbound, sink)          Proxy ── start write end ──> AsgiSink ── send ──> server
       └── http.disconnect ──> source.gone

Writes that come while the server is busy are joined. When too much waits, the source is paused.
"""

import asyncio
from time import monotonic

from starlette.types import Receive, Scope, Send

from gateway.errors import ClientError
from gateway.server.door import Door
from gateway.surface.answer import path_error_body, send_error
from gateway.types.sink import Handler, Headers, Inbound, Source, content_length

HIGH_WATER = 256 * 1024


class AsgiSink:
    """Collects what the proxy says until the server takes it."""

    __slots__ = ("_aborted", "_ended", "_head", "_left", "_pending", "_size", "_source", "_task", "_wake")

    def __init__(self) -> None:
        self._head: tuple[int, Headers] | None = None
        self._pending: list[bytes] = []
        self._size = 0
        self._ended = False
        self._left = False
        self._aborted = False
        self._task: asyncio.Task[None] | None = None  # that sends
        self._source: Source | None = None
        self._wake = asyncio.Event()

    def start(self, status: int, headers: Headers) -> None:
        self._head = (status, headers)

    def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and self._source is not None:
            self._source.pause()
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._source = None
        self._wake.set()

    def abort(self) -> None:
        """ASGI has no word for it: an app that returns in the middle of its answer makes the server close."""
        self._aborted = True
        self._source = None
        self.left()
        if self._task is not None:
            self._task.cancel()  # it may be waiting for the client

    def moves_on(self) -> bool:
        return False

    def attach(self, source: Source) -> None:
        if self._ended:
            return
        self._source = source
        if self._left:
            source.gone()
        elif self._size > HIGH_WATER:
            source.pause()

    def left(self) -> None:
        """The client is gone."""
        self._left = True
        self._pending.clear()
        self._wake.set()
        if self._source is not None:
            source, self._source = self._source, None
            source.gone()

    async def drain(self, send: Send) -> None:
        """Sends everything, until the end, until the client is gone, or until `abort`."""
        self._task = task = asyncio.current_task()
        try:
            await self._send_all(send)
        except asyncio.CancelledError:
            if not self._aborted or task is None:
                raise
            task.uncancel()

    async def _send_all(self, send: Send) -> None:
        while not self._left:
            await self._wake.wait()
            self._wake.clear()
            ended = self._ended
            data = b"".join(self._pending)
            self._pending.clear()
            self._relieve()
            if self._head is not None and not self._left:
                status, headers = self._head
                self._head = None
                await send({"type": "http.response.start", "status": status, "headers": headers})
            if not self._left and (data or ended):
                await send({"type": "http.response.body", "body": data, "more_body": not ended})
            if ended:
                return

    def _relieve(self) -> None:
        over, self._size = self._size > HIGH_WATER, 0
        if over and self._source is not None:
            self._source.resume()


class AsgiEndpoint:
    """An ASGI app of one route: reads the request, hands it to `handler`, sends what comes."""

    def __init__(self, handler: Handler, door: Door) -> None:
        self._handler = handler
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sink = AsgiSink()
        headers = dict(scope["headers"])  # now: some servers add to them what comes behind the body
        if not self._door.knows(headers):
            self._handler(Inbound(headers, b"", monotonic()), sink)  # it refuses in its own words
            await sink.drain(send)
            return
        upload = Upload(self._door)
        try:
            upload.enter(content_length(scope["headers"]))
            body = await upload.read(receive)
            if body is not None:  # else the client left while it was sending
                await self._serve(Inbound(headers, body, monotonic()), sink, receive, send)
        except ClientError as error:
            send_error(sink, error, [], path_error_body(error, scope["path"]))
            await sink.drain(send)
        finally:
            upload.leave()

    async def _serve(self, inbound: Inbound, sink: AsgiSink, receive: Receive, send: Send) -> None:
        watcher = asyncio.get_running_loop().create_task(_watch(receive, sink))
        try:
            self._handler(inbound, sink)
            await sink.drain(send)
        finally:
            watcher.cancel()
            sink.left()


class Upload:
    """A request in the worker's load, from its head to the end of its answer."""

    __slots__ = ("_door", "_taken")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._taken: int | None = None  # bytes; None: not in the load

    def enter(self, size: int) -> None:
        """Raises ClientError."""
        if error := self._door.enter(size):
            raise error
        self._taken = size

    def leave(self) -> None:
        if self._taken is not None:
            self._door.load.leave(self._taken)

    async def read(self, receive: Receive) -> bytes | None:
        """The whole body; None when the client left before its end. Raises ClientError."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            self._grow(size)
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _grow(self, size: int) -> None:
        taken = self._taken or 0
        if size <= taken:
            return
        if error := self._door.grow(size, size - taken):
            raise error
        self._taken = size


async def _watch(receive: Receive, sink: AsgiSink) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    sink.left()
