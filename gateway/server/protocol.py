"""Serves the hot routes inside uvicorn's HTTP connection: no task, no scope, no ASGI messages.

    bytes ─> parser ─┬─ POST to a hot route ─> DirectSink ─> handler(inbound, sink) ─> one write for each piece
                     └─ anything else ───────> uvicorn ─> Starlette, unchanged

HTTP/1.0, `Expect: 100-continue` and pipelined requests are "anything else": the same handlers serve them over the ASGI
sink, with the same responses.

Trailers are dropped. An `Upgrade` to another protocol (h2c, websocket) is ignored: the request is served as HTTP/1.1.
"""

from dataclasses import replace
from time import monotonic
from typing import Any, cast

import httptools

from gateway.errors import BadRequest, ClientError, HeadTooLarge, Overloaded, TooSlow
from gateway.server.connections import ANSWER, BODY, FIRST, HEAD, IDLE, UNREAD
from gateway.server.direct_sink import DirectSink
from gateway.server.framing import CODING, EXPECT, framing_problem
from gateway.server.frontend import FRONTEND, SERVED_ALWAYS, LiveFrontend
from gateway.server.host_check import NO_HTTP
from gateway.server.request_gate import RequestGate
from gateway.server.uvicorn_internals import RequestResponseCycle, UvicornConnection
from gateway.surface.answer import path_error_body, send_error
from gateway.types.sink import HeadWriter, Inbound, Sink, content_length

LARGEST_HEAD = 64 * 1024  # bytes that the parser may buffer without completing the headers or part of the body
LONGEST_REST = 64 * 1024  # bytes of a rejected request's body that are read and discarded to keep the connection alive


class HotProtocol(UvicornConnection):
    """uvicorn's protocol with a fast path for hot routes, and with a `RequestGate` in front of all routes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._live: LiveFrontend = self.app_state[FRONTEND]
        frontend = self._live.current
        self._gate: RequestGate = frontend.gate  # of the request that is being read or answered
        self._connections = frontend.gate.connections
        self.heading: HeadWriter = frontend.heading
        self._spare = False  # whether it is above the limit on connections
        self._sink: DirectSink | None = None  # of the hot request that is being read or answered
        self._reading = False  # whether a hot request's body is being received
        self._upgrading = False  # whether the headers just parsed have `Upgrade`
        self._discarding = False  # whether all further input is discarded
        self._parsed = 0  # `received` when the parser last made progress
        self.url = b""
        self.received = 0  # bytes
        self.phase = FIRST
        self.since = self.moved_at = self._connections.now
        self.begun = self.moved = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._connections.add(self):
            return
        if self._connections.add_spare(self):
            self._spare, self._live = True, LiveFrontend(replace(self._live.current, hot={}))
            return
        self._refuse_connection()
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._discarding:
            return  # discarded and not reset, so that the client can read the error response
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._fail(BadRequest("this is not a valid HTTP/1.1 request", code=NO_HTTP))
        if self.received - self._parsed > LARGEST_HEAD and not self.transport.is_closing():
            self._fail(HeadTooLarge(LARGEST_HEAD))

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.phase, self.since = HEAD, self._connections.now

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._parsed = self.begun = self.received
        if self.transport.is_closing():
            return  # a request pipelined after the last response
        parser = self.parser
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        self.phase, self.since = BODY, self._connections.now
        frontend = self._live.current
        handler = frontend.hot.get(self.url) if self._is_plain_post() else None
        request_headers = dict(self.headers)
        if handler is None or CODING in request_headers or EXPECT in request_headers:
            version = parser.get_http_version()
            if problem := framing_problem(self.url, version, self.headers):
                self._fail(problem)
                return
            if EXPECT in request_headers and version == "1.1":  # `100-continue`: anything else is refused
                self.expect_100_continue, handler = True, None
        if handler is None:
            if self._spare and not self.url.startswith(SERVED_ALWAYS):
                self._refuse_connection()
                return
            self.hand_over()
            if self._spare:
                self.finish()
            return
        headers, self.headers = self.headers, []
        self._sink = sink = DirectSink(self, handler, parser.should_keep_alive(), request_headers)
        self.cycle = sink  # type: ignore[assignment]  # it has what uvicorn reads
        self._reading = True
        gate = self._gate = frontend.gate
        self.heading = frontend.heading
        if error := gate.authority.refusal(b"POST", self.url, headers, request_headers):
            self._refuse(sink, error)
        elif (key := gate.identify(request_headers)) is None:
            self._end_early(sink)
            handler(Inbound(request_headers, b"", monotonic()), sink)  # responds with 401 in its own format
        elif error := gate.enter(key, size := content_length(request_headers), request_headers):
            self._refuse(sink, error)
        else:
            sink.key, sink.taken = key, size

    def on_body(self, body: bytes) -> None:
        self._parsed = self.received
        if not self._reading:
            super().on_body(body)
            return
        sink = self._sink
        if sink is None:
            return  # rejected
        taken = sink.taken or 0
        sink.size += len(body)
        if sink.size > taken:
            if error := self._gate.grow(sink.key, sink.size, sink.size - taken):
                self._refuse(sink, error)
                return
            sink.taken = sink.size
        sink.body.append(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self.phase = IDLE if self.phase == UNREAD else ANSWER
        if not self._reading:
            super().on_message_complete()
            return
        self._reading = False
        sink = self._sink
        if sink is None:  # rejected, and now fully received
            if not self.cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()
            return
        parts, sink.body = sink.body, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        sink.handler(Inbound(sink.request_headers, body, monotonic()), sink)

    def answered(self, sink: DirectSink) -> None:
        """A hot response is complete: the connection waits for the next request, or closes."""
        self._release(sink)
        if self._reading:  # the same as in `_fail`
            self.phase, self.since = UNREAD, self._connections.now
            return
        if not sink.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but with the timeouts of `Connections` in place of a timer per response."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        self.since = self._connections.now
        if self.pipeline:
            self.serve_queued()
        elif self.phase == ANSWER:
            self.phase = IDLE
        elif self.phase == BODY:
            self.phase = UNREAD

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._sink is not None:
            sink = self._sink
            self._release(sink)
            sink.left()
        super().connection_lost(exc)
        self.cycle = cast(RequestResponseCycle, None)  # breaks the reference cycle

    def shutdown(self) -> None:
        self._connections.drain()
        super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sink is not None:
            self._sink.flow(paused=True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sink is not None:
            self._sink.flow(paused=False)

    def is_held(self) -> bool:
        """Whether reading is paused until a response to an earlier request is complete."""
        return (
            self.flow.read_paused
            or bool(self.pipeline)
            or (self.phase == HEAD and self.cycle is not None and not self.cycle.response_complete)
        )

    def too_slow(self) -> None:
        self._fail(TooSlow())
        self.transport.close()

    def close(self) -> None:
        self.transport.close()

    def finish(self) -> None:
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _is_plain_post(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_http_version() == "1.1"
        )

    def _decline(self, rest: bytes) -> None:
        """Parses headers with `Upgrade` again, without it, and `rest` as HTTP/1.1: the parser stops at an upgrade."""
        if not self._upgrading:
            return  # CONNECT: what follows is not HTTP
        self._upgrading = False
        old, head = self.parser, [self.parser.get_method(), b" ", self.url, b" HTTP/"]
        head += [old.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.read_anew()
        self.received -= len(rest)
        self.data_received(b"".join((*head, b"\r\n", rest)))

    def _refuse(self, sink: DirectSink, error: ClientError) -> None:
        """Sends an error response at once. The rest of the body is discarded; if the head was no valid HTTP, so is the
        rest of the connection."""
        self._end_early(sink)
        sink.keep_alive &= error.code != NO_HTTP
        send_error(sink, error, [], path_error_body(error, self._path()))

    def _refuse_connection(self) -> None:
        """Every connection is taken."""
        self._gate.load.shed("connections")
        self._fail(Overloaded("the gateway is at its limit of connections"))

    def _end_early(self, sink: DirectSink) -> None:
        """Closes the connection after a response that is sent before the body has been received, unless it is short."""
        sink.body = []
        length = sink.request_headers.get(b"content-length")
        if length is None or int(length) > LONGEST_REST:
            sink.keep_alive = False

    def _fail(self, error: ClientError) -> None:
        """Sends an error response to an incomplete request and stops reading. A response in progress is completed
        instead."""
        if self._discarding or self.transport.is_closing():
            return
        self._discarding = True
        if self._reading and self._sink is None:
            return  # rejected: it has its answer, and its body ends here
        if not self._can_respond():
            self.cycle.keep_alive = False
            return
        if self._sink is not None:
            self._release(self._sink)
        if self.cycle is not None:
            self.cycle.disconnected = True  # a handler that is running sends no second response
            self.cycle.message_event.set()
        self._reading = True  # closing now would reset the connection under the answer
        self.cycle = cast(RequestResponseCycle, sink := DirectSink(self, _no_handler, False, dict(self.headers or ())))
        send_error(sink, error, [], path_error_body(error, self._path()))

    def _can_respond(self) -> bool:
        """Whether no response has begun and none is being prepared."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self._reading:
            return True
        return self.phase == BODY and not self.pipeline and not cycle.response_started

    def _release(self, sink: DirectSink) -> None:
        self._sink = None
        if sink.taken is not None:
            self._gate.load.leave(sink.key, sink.taken)
            sink.taken = None

    def _path(self) -> str:
        return self.url.decode("latin-1")


def _no_handler(_: Inbound, __: Sink) -> None:
    """The handler of an incomplete request: never called."""
