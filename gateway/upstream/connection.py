"""One connection to a host: it asks one question at a time and hands the answer over as it arrives.

    socket -> data_received -> parser -> Receiver.on_response, on_data*, on_complete
                    |                                           or on_lost, whatever went wrong
    complete and reusable -> owner.release        closed -> owner.forget

The parser's callbacks only take notes; the receiver is called after each read. So the pieces of one read are joined
into one call, and a receiver may cancel, pause or send again from within any callback.
"""

import asyncio
from typing import Protocol, cast

import httptools

from gateway.types import Fault

QUIET_LIMIT = 64 * 1024  # bytes that may come before they must have made a head, or a piece of body, or an end


class Receiver(Protocol):
    """Who gets the answer. Every callback is synchronous; exactly one of `on_complete` and `on_lost` ends a call."""

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The final head (never 1xx); header names in lower case."""

    def on_data(self, data: bytes) -> None:
        """Bytes of the body, de-chunked, one call for what one read delivered."""

    def on_complete(self) -> None:
        """The answer is whole."""

    def on_lost(self, fault: Fault, message: str) -> None:
        """The answer will not be whole: `refused`, `cut` or `garbage`, and why."""


class Sent(Protocol):
    """A request under way, as its sender sees it."""

    @property
    def asked(self) -> bool:
        """Whether it was written to the host."""

    def cancel(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Owner(Protocol):
    """Who opens connections and keeps them between calls."""

    def open(self, call: "Call") -> None: ...
    def release(self, connection: "Connection") -> None: ...
    def forget(self, connection: "Connection") -> None: ...


class Call:
    """One request, from `send` until its receiver was told the end or `cancel` was called."""

    __slots__ = ("_owner", "body", "connect_timeout", "connection", "head", "opening", "paused", "receiver")

    def __init__(self, owner: Owner, head: bytes, body: bytes, receiver: Receiver, connect_timeout: float) -> None:
        self._owner = owner
        self.head = head
        self.body = body
        self.receiver: Receiver | None = receiver  # None once the call has ended
        self.connect_timeout = connect_timeout
        self.connection: Connection | None = None
        self.opening: asyncio.Task[None] | None = None  # set while a connection is being made for this call
        self.paused = False

    def __repr__(self) -> str:
        state = "ended" if self.receiver is None else "asked" if self.connection else "connecting"
        return f"<Call {state}{' paused' if self.paused else ''}>"

    @property
    def asked(self) -> bool:
        """Whether the request was written to a host."""
        return self.connection is not None

    def cancel(self) -> None:
        """Close the connection, or stop making it. No callback comes afterwards."""
        opening, connection = self.opening, self.connection
        self._end()
        if opening is not None:
            opening.cancel()
        if connection is not None:
            connection.close()

    def pause(self) -> None:
        """Read no more from the host, so that its sending blocks. What was already read still comes."""
        self.paused = True
        if self.connection is not None:
            self.connection.transport.pause_reading()

    def resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.transport.resume_reading()

    def retry(self) -> None:
        """Ask again on a fresh connection: the kept one had died before it was asked."""
        self.connection = None
        self._owner.open(self)

    def complete(self) -> None:
        receiver = self._end()
        if receiver is not None:
            receiver.on_complete()

    def lose(self, fault: Fault, message: str) -> None:
        receiver = self._end()
        if receiver is not None:
            receiver.on_lost(fault, message)

    def _end(self) -> Receiver | None:
        """Let go of everything; the receiver comes back only once."""
        receiver, self.receiver = self.receiver, None
        self.connection = self.opening = None
        self.head = self.body = b""
        return receiver


class Connection(asyncio.Protocol):
    """A socket, its parser, and the call that it serves (None while it is kept)."""

    transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._call: Call | None = None
        self.born = self.since = 0.0  # loop times: when it was made, when it was last released
        self.lost = False
        self._used = False  # whether an earlier call was answered here
        self._begin()

    def _begin(self) -> None:
        """Forget the last answer."""
        self._status = 0  # of the final head; 0 until it is whole
        self._headers: list[tuple[bytes, bytes]] = []
        self._announced = False  # whether the receiver has the head
        self._pieces: list[bytes] = []
        self._quiet = 0  # bytes since something came of them
        self._complete = False
        self._reusable = False
        self._until_close = False  # whether the body ends where the connection does
        self._problem = ""

    def __repr__(self) -> str:
        return f"<Connection {'closed' if self.lost else 'busy' if self._call else 'idle'}>"

    def ask(self, call: Call) -> None:
        """Send a call's request; its answer goes to its receiver."""
        self._call = call
        call.connection, call.opening = self, None
        if call.paused:
            self.transport.pause_reading()
        self.transport.writelines((call.head, call.body))

    def close(self) -> None:
        """Close at once. Nobody is told."""
        self._call = None
        self.transport.abort()

    def fail(self, fault: Fault, message: str) -> None:
        """Close at once, and tell the receiver why."""
        call = self._call
        self.close()
        if call is not None:
            call.lose(fault, message)

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        if self._call is None or self._parser is None:
            self.close()  # bytes that nobody asked for
            return
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._problem = self._problem or f"the host sent bytes that are not HTTP: {error}"
        if self._quiet > QUIET_LIMIT:
            self._problem = f"the host sent over {QUIET_LIMIT} bytes of head, or of framing, without content"
        self._deliver(self._call)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._parser = None  # it refers back to this object
        self._owner.forget(self)
        call, self._call = self._call, None
        if call is None:
            return
        if self._until_close and exc is None:
            call.complete()
        elif self._used and not self._status and not self._quiet:
            call.retry()
        else:
            how = "closed the connection" if exc is None else "broke the connection"
            call.lose("cut", f"the host {how} {'within' if self._status else 'before'} the answer")

    def _deliver(self, call: Call) -> None:
        """Pass on what one read has brought; stop where the receiver cancels."""
        if self._status and not self._announced:
            self._announced = True
            assert call.receiver is not None
            call.receiver.on_response(self._status, self._headers)
        if self._pieces and call.receiver is not None:
            pieces, self._pieces = self._pieces, []
            call.receiver.on_data(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if call.receiver is None:
            return
        if self._complete:
            self._finish(call)
        elif self._problem:
            self.fail("garbage", self._problem)

    def _finish(self, call: Call) -> None:
        """Keep or close the connection first, so that a request sent from `on_complete` may use it."""
        if self._reusable and not self._problem and self.transport.get_write_buffer_size() == 0:
            self._call = None
            self._used = True
            if call.paused:
                self.transport.resume_reading()
            self._begin()
            self._owner.release(self)
        else:
            self.close()
        call.complete()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            self._refuse("the host sent a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # later ones are trailers
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:  # 101 changes the protocol
                self._refuse(f"the host sent status {status}, which nobody asked for")
            return
        if self._quiet > QUIET_LIMIT and sum(len(n) + len(v) + 4 for n, v in self._headers) > QUIET_LIMIT:
            self._refuse(f"the host sent a head of over {QUIET_LIMIT} bytes")
        if not self._parser.should_keep_alive():  # so the framing may be unusual
            self._check_framing()
        self._status = status
        self._quiet = 0

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._quiet = 0

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if not self._status:  # the end of a 1xx
            self._headers = []
            return
        self._complete = True
        self._quiet = 0
        self._reusable = self._parser.should_keep_alive()  # the parser forgets it after this callback

    def _check_framing(self) -> None:
        """Find out whether the body ends where the connection does, and refuse what cannot be read."""
        assert self._parser is not None
        if not self._parser.get_http_version().startswith("1."):
            self._refuse("the host does not speak HTTP/1.1")
        fields = dict(self._headers)
        coding = fields.get(b"transfer-encoding", b"chunked")
        if coding.lower() != b"chunked":
            self._refuse("the host sent a transfer coding that nobody asked for")
        self._until_close = fields.keys().isdisjoint((b"content-length", b"transfer-encoding"))

    def _refuse(self, problem: str) -> None:
        """Stop the parser."""
        self._problem = problem
        raise httptools.HttpParserError(problem)
