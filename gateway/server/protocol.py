"""The hot routes inside uvicorn's HTTP connection: no task, no scope, no ASGI messages.

    bytes ─> parser ─┬─ POST to a hot route ─> DirectSink ─> handler(inbound, sink) ─> one write for each piece
                     └─ anything else ───────> uvicorn ─> Starlette, unchanged

HTTP/1.0, `Expect: 100-continue` and pipelined requests are "anything else": the same handlers serve them over the ASGI
sink. What is answered, and how, is decided above the sinks.

What is said of a request before its body is all that counts of it: headers that come behind the body (trailers) are
dropped. An offer to speak another protocol (`Upgrade: h2c`, websocket) is not taken: the request is served as it is.
"""

from time import monotonic
from typing import Any, cast

import httptools

from gateway.errors import BadRequest, ClientError, HeadTooLarge, Overloaded, TooSlow
from gateway.server.authority import NO_HTTP
from gateway.server.connections import ANSWER, BODY, FIRST, HEAD, IDLE, UNREAD
from gateway.server.direct import DirectSink
from gateway.server.door import DOOR, Door
from gateway.server.uvicorn_internals import RequestResponseCycle, UvicornConnection
from gateway.surface.answer import path_error_body, send_error
from gateway.types.sink import Handler, HeadWriter, Inbound, Sink, content_length

HOT = "hot_routes"  # key of the lifespan's state: {path: handler}
HEADING = "heading"
LARGEST_HEAD = 64 * 1024  # bytes that may come before they must have made a head, or a piece of body
LONGEST_REST = 64 * 1024  # bytes of a refused body that are read so that its connection can be used again


class HotProtocol(UvicornConnection):
    """uvicorn's protocol with a short way for hot routes, and with a `Door` in front of all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hot: dict[bytes, Handler] = self.app_state[HOT]
        self._door: Door = self.app_state[DOOR]
        self._connections = self._door.connections
        self.heading: HeadWriter = self.app_state[HEADING]
        self._sink: DirectSink | None = None  # of the hot request that is being read or answered
        self._reading = False  # whether a hot request's body is still coming
        self._upgrading = False  # whether the head that was just read offers another protocol
        self._over = False  # whether nothing more is read
        self._used = 0  # `received` when something was last made of it
        self.url = b""
        self.received = 0  # bytes
        self.phase = FIRST
        self.since = self.moved_at = self._connections.now
        self.begun = self.moved = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._connections.add(self):
            self._door.load.shed("connections")
            self._fail(Overloaded())
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._over:
            return  # thrown away, so that the client gets to read why
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._fail(BadRequest("this is no HTTP/1.1 request", code=NO_HTTP))
        if self.received - self._used > LARGEST_HEAD and not self.transport.is_closing():
            self._fail(HeadTooLarge(LARGEST_HEAD))

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.phase, self.since = HEAD, self._connections.now

    def on_headers_complete(self) -> None:
        self._used = self.begun = self.received
        if self.transport.is_closing():
            return  # what was pipelined behind the last answer
        parser = self.parser
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        self.phase, self.since = BODY, self._connections.now
        handler = self._hot.get(self.url) if self._is_plain_post() else None
        if handler is None:
            self.hand_over()
            return
        headers, self.headers = self.headers, []
        asked = dict(headers)
        self._sink = sink = DirectSink(self, handler, parser.should_keep_alive(), asked)
        self.cycle = cast(RequestResponseCycle, sink)
        self._reading = True
        door = self._door
        if error := door.authority.refusal(b"POST", self.url, headers, asked):
            self._refuse(sink, error)
        elif not door.knows(asked):
            self._end_early(sink)
            handler(Inbound(asked, b"", monotonic()), sink)  # it refuses in its own words
        elif error := door.enter(size := content_length(headers)):
            self._refuse(sink, error)
        else:
            sink.taken = size

    def on_body(self, body: bytes) -> None:
        self._used = self.received
        if not self._reading:
            super().on_body(body)
            return
        sink = self._sink
        if sink is None:
            return  # refused
        taken = cast(int, sink.taken)
        sink.size += len(body)
        if sink.size > taken:
            if error := self._door.grow(sink.size, sink.size - taken):
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
        if sink is None:  # refused, and now read to its end
            self._go_on(self.cycle.keep_alive)
            return
        body = sink.body[0] if len(sink.body) == 1 else b"".join(sink.body)
        sink.body = []
        sink.handler(Inbound(sink.asked, body, monotonic()), sink)

    def answered(self, sink: DirectSink) -> None:
        """A hot response is complete: the next request may come, or the connection closes."""
        self._forget(sink)
        if self._reading:  # the same as in `_fail`
            self.phase, self.since = UNREAD, self._connections.now
        else:
            self._go_on(sink.keep_alive)

    def on_response_complete(self) -> None:
        """uvicorn's, with the deadlines of `Connections` in place of a timer for each response."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
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
            self._forget(sink)
            sink.left()
        super().connection_lost(exc)
        self.cycle = cast(RequestResponseCycle, None)  # it refers back

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
        """Whether an answer, or what waits for one, keeps the client from being read."""
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

    def _is_plain_post(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and parser.get_http_version() == "1.1"
        )

    def _decline(self, rest: bytes) -> None:
        """Reads a head that offers another protocol again, without the offer, and what follows it as HTTP/1.1: the
        parser takes nothing behind an offer for HTTP."""
        if not self._upgrading:
            return  # CONNECT: a tunnel would follow
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
        """Answers at once, and what still comes of the body is thrown away."""
        self._end_early(sink)
        send_error(sink, error, [], path_error_body(error, self._path()))

    def _end_early(self, sink: DirectSink) -> None:
        """Closes the connection after an answer that is given before the body, unless little of it is left."""
        sink.body = []
        length = sink.asked.get(b"content-length")
        if length is None or int(length) > LONGEST_REST:
            sink.keep_alive = False

    def _fail(self, error: ClientError) -> None:
        """Answers what is no whole request; an answer under way ends first. Nothing more is read."""
        if self.transport.is_closing():
            return
        self._over = True
        if not self._may_speak():
            self.cycle.keep_alive = False
            return
        if self._sink is not None:
            self._forget(self._sink)
        self._reading = True  # closing now would reset the connection under the answer
        sink = DirectSink(self, _unheard, False, dict(self.headers or ()))
        send_error(sink, error, [], path_error_body(error, self._path()))

    def _may_speak(self) -> bool:
        """Whether no answer has begun, nor is being worked on."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self._reading:
            return True
        return self.phase == BODY and not self.pipeline and not cycle.response_started

    def _forget(self, sink: DirectSink) -> None:
        self._sink = None
        if sink.taken is not None:
            self._door.load.leave(sink.taken)
            sink.taken = None

    def _go_on(self, keep_alive: bool) -> None:
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _path(self) -> str:
        return self.url.decode("latin-1")


def _unheard(_: Inbound, __: Sink) -> None:
    """The handler of what is no whole request."""
