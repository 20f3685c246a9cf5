"""The direct sink: writes a response to the client's connection, without a task and without ASGI messages."""

from typing import Any, Protocol

from gateway.server.uvicorn_internals import STATUS_LINE
from gateway.types.sink import Handler, Headers, HeadWriter, Source

_openings: dict[int, tuple[Headers, bytes]] = {}  # by status: uvicorn's default headers, and the encoded bytes
_line = b": ".join  # of a header


def _opening(status: int, defaults: Headers) -> bytes:
    """The status line and uvicorn's default headers, encoded, without the last line break. uvicorn replaces the list
    every second, for the date."""
    cached = _openings.get(status)
    if cached is None or cached[0] is not defaults:
        lines = STATUS_LINE[status].rstrip(), *map(_line, defaults)
        cached = _openings[status] = (defaults, b"\r\n".join(lines))
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
    """Replaces the event with which uvicorn wakes its task: a direct sink has no task."""

    def set(self) -> None: ...


class DirectSink:
    """One response, written to the connection. It has the attributes that uvicorn's protocol reads of its cycle."""

    __slots__ = (
        "_chunked",
        "_head",
        "_protocol",
        "_source",
        "_transport",
        "body",
        "disconnected",
        "handler",
        "keep_alive",
        "key",
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
        self._transport = protocol.transport
        self._head = b""  # not yet written
        self._chunked = False
        self.request_headers = request_headers
        self.handler = handler
        self.keep_alive = keep_alive
        self.body: list[bytes] = []  # of the request
        self.size = 0
        self.key = b""  # digest of the client's key
        self.taken: int | None = None  # admitted bytes of the body; None: the request is not admitted
        self.paused = protocol.flow.write_paused  # the previous response may still fill the write buffer
        self.disconnected = False
        self.response_complete = False

    def start(self, status: int, headers: Headers) -> None:
        protocol = self._protocol
        opening = _opening(status, protocol.server_state.default_headers)
        head = b"\r\n".join((opening, *map(_line, protocol.heading(self.request_headers, headers))))
        self._chunked = b"\r\ncontent-length: " not in head
        if self._chunked:
            head += b"\r\ntransfer-encoding: chunked"
        self._head = head + (b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n")

    def write(self, data: bytes) -> None:
        if self.disconnected or not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def end(self) -> None:
        self._source = None
        if self.disconnected:
            return
        rest = self._head + b"0\r\n\r\n" if self._chunked else self._head
        if rest:
            self._transport.write(rest)
            self._head = b""
        self.response_complete = True
        self._protocol.answered(self)

    def abort(self) -> None:
        self._source = None
        self.disconnected = True
        self._transport.abort()

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
