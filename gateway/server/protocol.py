"""The hot routes inside uvicorn's HTTP connection: no task, no scope, no ASGI messages.

    bytes ─> parser ─┬─ POST to a hot route ─> DirectSink ─> handler(inbound, sink) ─> one write for each piece
                     └─ anything else ───────> uvicorn ─> Starlette, unchanged

Upgrades, HTTP/1.0, `Expect: 100-continue` and pipelined requests are "anything else": the same handlers serve them
over the ASGI sink. What is answered, and how, is decided above the sinks.
"""

from time import monotonic
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.errors import TooLarge
from gateway.proxy.answer import refusal, send_error
from gateway.proxy.inbound import Handler, Inbound, promised
from gateway.proxy.sink import Headers, HeadWriter, Source

HOT = "hot_routes"  # key of the lifespan's state: {path: handler}
MAX_BODY = "max_body"
HEADING = "heading"
LARGEST_HEAD = 64 * 1024  # bytes that may come before they must have made a head, or a piece of body
UNREAD = 5.0  # seconds that a client has to finish sending a body that is refused
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


_openings: dict[int, tuple[Headers, bytes]] = {}  # status -> the default headers that it was made with, and the bytes


def _opening(status: int, defaults: Headers) -> bytes:
    """The status line and uvicorn's own headers. It makes a new list of them every second, for the date."""
    kept = _openings.get(status)
    if kept is None or kept[0] is not defaults:
        lines = [b"%b: %b\r\n" % header for header in defaults]
        kept = _openings[status] = (defaults, b"".join((STATUS_LINE[status], *lines)))
    return kept[1]


class _Nobody:
    """Stands in for the event that uvicorn wakes its task with."""

    def set(self) -> None: ...


class DirectSink:
    """One response, written to the connection. Has what uvicorn's protocol asks its current cycle for."""

    __slots__ = (
        "_chunked",
        "_head",
        "_protocol",
        "_source",
        "asked",
        "body",
        "disconnected",
        "handler",
        "keep_alive",
        "paused",
        "response_complete",
        "size",
    )

    message_event = _Nobody()

    def __init__(self, protocol: "HotProtocol", handler: Handler, keep_alive: bool) -> None:
        self._protocol = protocol
        self._source: Source | None = None
        self._head: list[bytes] | None = None  # not yet written
        self._chunked = False
        self.asked: dict[bytes, bytes] = {}  # headers of the request
        self.handler = handler
        self.keep_alive = keep_alive
        self.body: list[bytes] = []  # of the request
        self.size = 0
        self.paused = protocol.flow.write_paused  # the answer before may still fill the connection
        self.disconnected = False
        self.response_complete = False

    def start(self, status: int, headers: Headers) -> None:
        head = [_opening(status, self._protocol.server_state.default_headers)]
        self._chunked = True
        for name, value in self._protocol.heading(self.asked, headers):
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
        """The client is gone."""
        self.disconnected = True
        if self._source is not None:
            source, self._source = self._source, None
            source.gone()

    def flow(self, paused: bool) -> None:
        """The client takes data slower, or again as fast, as it comes."""
        self.paused = paused
        if self._source is None:
            return
        if paused:
            self._source.pause()
        else:
            self._source.resume()


class HotProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a short way for hot routes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hot: dict[bytes, Handler] = self.app_state.get(HOT, {})
        self._max_body: int = self.app_state.get(MAX_BODY, 0)
        self.heading: HeadWriter = self.app_state.get(HEADING, lambda _, headers: headers)
        self._sink: DirectSink | None = None  # of the hot request that is being read or answered
        self._reading = False  # whether a hot request's body is still coming
        self._quiet = 0  # bytes since something was made of them

    def data_received(self, data: bytes) -> None:
        self._quiet += len(data)
        super().data_received(data)
        if self._quiet > LARGEST_HEAD and not self.transport.is_closing():
            self.transport.write(HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()  # a refusal in this very read may have set it
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._quiet = 0
        if self.transport.is_closing():
            return  # what was pipelined behind the last answer
        handler = self._hot.get(self.url) if self._is_plain_post() else None
        if handler is None:
            self._hand_over()
            return
        self._sink = sink = DirectSink(self, handler, self.parser.should_keep_alive())
        self.cycle = cast(RequestResponseCycle, sink)
        self._reading = True
        if promised(self.headers) > self._max_body:
            self._refuse(sink)

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        if not self._reading:
            super().on_body(body)
            return
        if self._sink is None:
            return  # refused
        sink = self._sink
        sink.size += len(body)
        if sink.size <= self._max_body:
            sink.body.append(body)
        else:
            self._refuse(sink)

    def on_message_complete(self) -> None:
        if not self._reading:
            super().on_message_complete()
            return
        self._reading = False
        sink = self._sink
        if sink is None:
            self.transport.close()  # refused, and now read to its end
            return
        body = sink.body[0] if len(sink.body) == 1 else b"".join(sink.body)
        sink.body = []
        sink.asked = dict(self.headers)
        sink.handler(Inbound(sink.asked, body, monotonic()), sink)

    def answered(self, sink: DirectSink) -> None:
        """A hot response is complete: the next request may come, or the connection closes."""
        self._sink = None
        if self._reading:  # closing now would reset the connection under the answer
            self.loop.call_later(UNREAD, self.transport.close)
            return
        if not sink.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.left()
        super().connection_lost(exc)
        self.cycle = cast(RequestResponseCycle, None)  # it refers back

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sink is not None:
            self._sink.flow(paused=True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sink is not None:
            self._sink.flow(paused=False)

    def _is_plain_post(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
        )

    def _hand_over(self) -> None:
        """Gives uvicorn what it would have made of this request by itself."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()

    def _refuse(self, sink: DirectSink) -> None:
        """The body is too large: answered at once, and what still comes of it is thrown away."""
        sink.keep_alive = False
        sink.body = []
        sink.asked = dict(self.headers)
        error = TooLarge(self._max_body)
        send_error(sink, error, [], refusal(error, self.url.decode("latin-1")))
