"""The ASGI sink, which works with any ASGI server and on any route.

    receive ── body ──> handler(inbound, sink)          Proxy ── start write end ──> AsgiSink ── send ──> server
       └── http.disconnect ──> source.gone

Writes are joined while the server is busy. Above a high-water mark of pending bytes the source is paused.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic

from starlette.types import Receive, Scope, Send

from gateway.errors import ClientError
from gateway.server.request_gate import RequestGate
from gateway.surface.answer import path_error_body, send_error
from gateway.types.sink import Handler, Headers, Inbound, Source, content_length

HIGH_WATER = 256 * 1024  # pending bytes


class AsgiSink:
    """Buffers the response until the server takes it."""

    __slots__ = ("_aborted", "_ended", "_head", "_left", "_pending", "_size", "_source", "_task", "_wake")

    def __init__(self) -> None:
        self._head: tuple[int, Headers] | None = None
        self._pending: list[bytes] = []
        self._size = 0
        self._ended = False
        self._left = False
        self._aborted = False
        self._task: asyncio.Task[None] | None = None  # the task that sends
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
        """ASGI has no abort: if an app returns in the middle of its response, the server closes the connection."""
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
        """The client has disconnected."""
        self._left = True
        self._pending.clear()
        self._wake.set()
        if self._source is not None:
            source, self._source = self._source, None
            source.gone()

    async def drain(self, send: Send) -> None:
        """Sends the response until its end, until the client disconnects, or until `abort`."""
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
    """The ASGI app of one route: reads the request, passes it to `handler`, sends the response."""

    def __init__(self, handler: Handler, gate: RequestGate) -> None:
        self._handler = handler
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sink = AsgiSink()
        headers = dict(scope["headers"])  # copied now: some servers append the trailers later
        if (key := self._gate.identify(headers)) is None:
            self._handler(Inbound(headers, b"", monotonic()), sink)  # responds with 401 in its own format
            await sink.drain(send)
            return
        upload = Upload(self._gate, key)
        try:
            upload.enter(content_length(headers), headers)
            body = await upload.read(receive)
            if body is not None:  # else the client disconnected while sending it
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
    """An admitted request, from its headers to the end of its response."""

    __slots__ = ("_gate", "_key", "_taken")

    def __init__(self, gate: RequestGate, key: bytes) -> None:
        self._gate = gate
        self._key = key
        self._taken: int | None = None  # bytes that are admitted; None: the request is not admitted

    def enter(self, size: int, headers: Mapping[bytes, bytes]) -> None:
        """Raises ClientError."""
        if error := self._gate.enter(self._key, size, headers):
            raise error
        self._taken = size

    def leave(self) -> None:
        if self._taken is not None:
            self._gate.load.leave(self._key, self._taken)

    async def read(self, receive: Receive) -> bytes | None:
        """The whole body; None if the client disconnected before its end. Raises ClientError."""
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
        if error := self._gate.grow(self._key, size, size - taken):
            raise error
        self._taken = size


async def _watch(receive: Receive, sink: AsgiSink) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    sink.left()
