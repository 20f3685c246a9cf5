"""The direct sink: writes a response to the client's connection, without a task and without ASGI messages."""

from typing import Any, Protocol

from gateway.server.uvicorn_internals import STATUS_LINE
from gateway.types.sink import Handler, Headers, HeadWriter, Source

_openings: dict[int, tuple[Headers, bytes]] = {}  # by status: uvicorn's default headers, and the encoded bytes


def _opening(status: int, defaults: Headers) -> bytes:
    """The status line and uvicorn's default headers, encoded. uvicorn replaces the list every second, for the date."""
    cached = _openings.get(status)
    if cached is None or cached[0] is not defaults:
        lines = [b"%b: %b\r\n" % header for header in defaults]
        cached = _openings[status] = (defaults, b"".join((STATUS_LINE[status], *lines)))
    return cached[1]


class ClientConnection(Protocol):
    """What a sink uses of its client's connection: asyncio's transport, and uvicorn's `flow` and `server_state`."""

    transport: Any
    flow: Any
    server_state: Any
    heading: HeadWriter

    def answered(self, sink: "DirectSink") -> None:
        """The response is complete."""


class _NoTask:
    """In place of the event with which uvicorn wakes its task: there is none."""

    def set(self) -> None: ...


class DirectSink:
    """One response, written to the connection. It has the attributes that uvicorn's protocol reads of its cycle."""

    __slots__ = (
        "_chunked",
        "_head",
        "_protocol",
        "_source",
        "body",
        "disconnected",
        "handler",
        "keep_alive",
        "paused",
        "request_headers",
        "response_complete",
        "size",
        "taken",
    )

    message_event = _NoTask()

    def __init__(
        self, protocol: ClientConnection, handler: Handler, keep_alive: bool, request_headers: dict[bytes, bytes]
    ) -> None:
        self._protocol = protocol
        self._source: Source | None = None
        self._head: list[bytes] | None = None  # not yet written
        self._chunked = False
        self.request_headers = request_headers
        self.handler = handler
        self.keep_alive = keep_alive
        self.body: list[bytes] = []  # of the request
        self.size = 0
        self.taken: int | None = None  # admitted bytes of the body; None: the request is not admitted
        self.paused = protocol.flow.write_paused  # the previous response may still fill the write buffer
        self.disconnected = False
        self.response_complete = False

    def start(self, status: int, headers: Headers) -> None:
        head = [_opening(status, self._protocol.server_state.default_headers)]
        self._chunked = True
        for name, value in self._protocol.heading(self.request_headers, headers):
            head += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                self._chunked = False
        if self._chunked:
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._head = head

    def write(self, data: bytes) -> None:
        if self.disconnected or not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head is not None:
            self._head.append(data)
            data = b"".join(self._head)
            self._head = None
        self._protocol.transport.write(data)

    def end(self) -> None:
        self._source = None
        if self.disconnected:
            return
        parts = self._head or []
        self._head = None
        if self._chunked:
            parts.append(b"0\r\n\r\n")
        if parts:
            self._protocol.transport.write(b"".join(parts))
        self.response_complete = True
        self._protocol.answered(self)

    def abort(self) -> None:
        self._source = None
        self.disconnected = True
        self._protocol.transport.abort()

    def moves_on(self) -> bool:
        return False

    def attach(self, source: Source) -> None:
        if self.response_complete:
            return
        self._source = source
        if self.disconnected:
            self.left()
        elif self.paused:
            source.pause()

    def left(self) -> None:
        """The client has disconnected."""
        self.disconnected = True
        if self._source is not None:
            source, self._source = self._source, None
            source.gone()

    def flow(self, paused: bool) -> None:
        """Back-pressure: the client reads more slowly than data arrives, or has caught up."""
        self.paused = paused
        if self._source is None:
            return
        if paused:
            self._source.pause()
        else:
            self._source.resume()
