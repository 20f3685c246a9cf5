"""One HTTP/1.1 connection to a host: one request at a time, whose answer is handed over as it arrives.

    socket -> data_received -> Incoming -> (unpacked) -> Receiver.on_response, on_data*, on_complete
                    |                                                or on_lost, on any failure
    complete and reusable -> owner.release        closed -> owner.forget

The receiver is called after each read, so it may cancel, pause or send again from within any callback. No read blocks
the event loop: a read of more than SLICE bytes is parsed slice by slice, one per loop iteration, and the socket is not
read meanwhile.

The body of an answer other than 200 is an error message, which arrives at once or not at all. It counts as whole after
half a second, after 64 KB, or when the connection ends.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol, cast

from gateway.types import Fault
from gateway.upstream.transport.coding import Chain, UnreadableBody, unpacker
from gateway.upstream.transport.incoming import Incoming

STALE_WINDOW = 1.0  # seconds; a kept connection lost sooner after a request was closed before it
SLICE = 8 * 1024  # bytes parsed per loop iteration; with tiny events that takes some ms
LEAST_STEP = 1024  # bytes that one step of decompression counts as, at least
ERROR_BODY_TIMEOUT = 0.5  # seconds for the body of an error
LARGEST_ERROR_BODY = 64 * 1024  # bytes of it


class Receiver(Protocol):
    """Receives the answer. Every callback is synchronous; exactly one of `on_complete` and `on_lost` ends a call."""

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The final status and headers (never 1xx); header names in lower case."""

    def on_data(self, data: bytes) -> None:
        """Bytes of the body without chunked framing: one call per read."""

    def on_complete(self) -> None:
        """The answer is complete."""

    def on_lost(self, fault: Fault, message: str) -> None:
        """The answer will stay incomplete, with `refused`, `cut` or `garbage` and the reason."""


class SentCall(Protocol):
    """A request under way, as its sender sees it."""

    @property
    def written(self) -> bool:
        """Whether the request was written to the host, in full as far as can be known."""

    def cancel(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class ConnectionOwner(Protocol):
    """Opens connections and keeps them between calls."""

    def send(self, call: "Call") -> None:
        """Sends it on a new connection."""

    def release(self, connection: "Connection") -> None: ...
    def forget(self, connection: "Connection") -> None: ...


class Call:
    """One request, from `send` until its receiver got the end or `cancel` was called."""

    __slots__ = ("_owner", "_written", "body", "connect_timeout", "connection", "head", "opening", "paused", "receiver")

    def __init__(
        self, owner: ConnectionOwner, head: bytes, body: bytes, receiver: Receiver, connect_timeout: float
    ) -> None:
        self._owner = owner
        self.head = head
        self.body = body
        self.receiver: Receiver | None = receiver  # None once the call has ended
        self.connect_timeout = connect_timeout
        self.connection: Connection | None = None
        self.opening: asyncio.Task[None] | None = None  # set while a connection is opened for this call
        self.paused = False
        self._written = False

    def __repr__(self) -> str:
        state = "ended" if self.receiver is None else "sent" if self.connection else "connecting"
        return f"<Call {state}{' paused' if self.paused else ''}>"

    @property
    def written(self) -> bool:
        """Whether the request was written to a host; also valid once the call has ended."""
        return self._written if self.connection is None else not self.connection.writing

    def cancel(self) -> None:
        """Closes the connection, or stops opening it. No callback follows."""
        opening, connection = self.opening, self.connection
        self.end()
        if opening is not None:
            opening.cancel()
        if connection is not None:
            connection.close()

    def pause(self) -> None:
        """Stops reading from the host, so that the host's writes block."""
        self.paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

    def retry(self) -> None:
        """Sends again on a fresh connection: the kept one was stale."""
        self.connection = None
        self._owner.send(self)

    def lose(self, fault: Fault, message: str) -> None:
        receiver = self.end()
        if receiver is not None:
            receiver.on_lost(fault, message)

    def end(self) -> Receiver | None:
        """Releases everything. Returns the receiver once, and None afterwards."""
        receiver, self.receiver = self.receiver, None
        if self.connection is not None:
            self._written = not self.connection.writing
        self.connection = self.opening = None
        self.head = self.body = b""
        return receiver


class Connection(asyncio.Protocol):
    """A socket, its parser, and the call that it serves (None while the connection is idle)."""

    transport: asyncio.Transport

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._incoming = Incoming()
        self._call: Call | None = None
        self.born = self.expires = 0.0  # loop times of the connect, and until when it may be kept
        self.lost = False
        self.writing = False  # whether a large part of a request is still in the write buffer
        self._exc: Exception | None = None  # the error by which it was lost
        self._used = False  # whether an earlier call was answered on it
        self._sent_at = 0.0
        self._next_iteration: asyncio.Handle | None = None  # set while an iteration is scheduled
        self._rest: deque[memoryview] = deque()  # read, but not yet parsed
        self._begin()

    def _begin(self) -> None:
        """Resets what belongs to one answer."""
        self._incoming.begin()
        self._has_head = False  # whether the receiver has status and headers
        self._raw = False  # whether this is a 200 whose body goes to the receiver as it is
        self._packed: Chain | None = None
        self._steps: Iterator[bytes] | None = None  # decompression under way
        self._behind = False  # whether decompression or unparsed bytes are left for later iterations
        self._error_timer: asyncio.TimerHandle | None = None
        self._size = 0  # bytes of an error's body that the receiver has

    def __repr__(self) -> str:
        return f"<Connection {'closed' if self.lost else 'busy' if self._call else 'idle'}>"

    def send(self, call: Call) -> None:
        """Sends a call's request; the answer goes to its receiver."""
        self._call = call
        call.connection, call.opening = self, None
        if call.paused:
            self.transport.pause_reading()
        if self._used:
            self._sent_at = self._loop.time()
        self.transport.writelines((call.head, call.body))

    def pause(self) -> None:
        """Stops reading. Bytes already read wait as well."""
        if not self.lost:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Continues with bytes already read, or else reads on."""
        if self._behind:
            self._next_iteration = self._next_iteration or self._loop.call_soon(self._parse_slice)
        elif not self.lost:
            self.transport.resume_reading()

    def close(self) -> None:
        """Closes at once, without a callback."""
        self._call = None
        self._rest.clear()
        if self._error_timer is not None:
            self._error_timer.cancel()
        self.transport.abort()

    def fail(self, fault: Fault, message: str) -> None:
        """Closes at once, and reports the failure to the receiver."""
        call = self._call
        self.close()
        if call is not None:
            call.lose(fault, message)

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not derive from asyncio's

    def pause_writing(self) -> None:
        self.writing = True

    def resume_writing(self) -> None:
        self.writing = False

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:
            self.close()  # bytes without a request
        elif self._behind or len(data) > SLICE:
            self._rest.append(memoryview(data))
            self._fall_behind()
        else:
            incoming, receiver = self._incoming, call.receiver
            incoming.feed(data)
            pieces = incoming.pieces
            if self._raw and pieces and not (incoming.complete or incoming.problem) and receiver is not None:
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                receiver.on_data(data)
            else:
                self._deliver(call)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost, self._exc = True, exc
        self._owner.forget(self)
        if not self._behind:
            self._lose()

    def _lose(self) -> None:
        """The connection is lost, and all of its bytes are delivered."""
        self._incoming.close()
        call, incoming = self._call, self._incoming
        if call is None:
            return
        if incoming.until_close and self._exc is None:
            incoming.complete = True
            self._finish(call)
        elif self._was_stale():
            self._call = None
            call.retry()
        else:
            how = "closed the connection" if self._exc is None else "broke the connection"
            self._break_off(call, Fault.CUT, f"the host {how} {'within' if incoming.status else 'before'} the answer")

    def _was_stale(self) -> bool:
        """Whether the kept connection was stale: the host had closed it before the request. After a longer wait the
        host may have worked on the request, and bill it."""
        unanswered = self._used and not self._incoming.status and not self._incoming.quiet
        return unanswered and self._loop.time() - self._sent_at < STALE_WINDOW

    # large reads

    def _fall_behind(self) -> None:
        """More bytes have arrived than one iteration may parse: stop reading until they are parsed."""
        self._behind = True
        if self._next_iteration is None:
            if not self.lost:
                self.transport.pause_reading()
            self._next_iteration = self._loop.call_soon(self._parse_slice)

    def _parse_slice(self) -> None:
        """Parses one slice, in one iteration of the loop."""
        self._next_iteration = None
        call = self._call
        if call is None or call.paused or not self._behind:  # `resume` schedules the next one
            return
        if self._steps is None:
            self._incoming.feed(self._next_slice())
        self._deliver(call)
        if self._call is not call or not self._behind:
            return
        if self._steps is not None or self._rest:
            self._next_iteration = self._next_iteration or self._loop.call_soon(self._parse_slice)
            return
        self._behind = False
        if self.lost:
            self._lose()
        elif not call.paused:
            self.transport.resume_reading()

    def _next_slice(self) -> memoryview:
        first = self._rest.popleft()
        if len(first) > SLICE:
            self._rest.appendleft(first[SLICE:])
        return first[:SLICE]

    # to the receiver

    def _deliver(self, call: Call) -> None:
        """Delivers what has been parsed; stops where the receiver cancels."""
        incoming = self._incoming
        if incoming.status and not self._has_head:
            self._deliver_head(call)
        receiver, pieces = call.receiver, incoming.pieces
        if pieces and receiver is not None:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if self._raw:
                receiver.on_data(data)
            elif self._packed is None:
                self._pass(call, data)
            else:
                self._steps = self._packed.unpack(data)
        if self._steps is not None and self._unpack(call):
            self._fall_behind()
            return
        if call.receiver is None:
            return
        if incoming.complete:
            self._finish(call)
        elif incoming.problem:
            self._break_off(call, Fault.GARBAGE, incoming.problem)

    def _deliver_head(self, call: Call) -> None:
        self._has_head = True
        incoming = self._incoming
        headers = incoming.headers
        if incoming.status == 200:
            self._raw = not incoming.packed
        else:
            self._error_timer = self._loop.call_later(ERROR_BODY_TIMEOUT, self._end_error)
        if incoming.packed:
            headers = self._choose_unpacker(headers)
        assert call.receiver is not None
        call.receiver.on_response(incoming.status, headers)

    def _choose_unpacker(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers without the content coding, which is undone here."""
        try:
            self._packed = unpacker(headers)
        except UnreadableBody as error:
            self._incoming.spoil(str(error))
        return [header for header in headers if header[0] != b"content-encoding"]

    def _pass(self, call: Call, data: bytes) -> None:
        assert call.receiver is not None
        call.receiver.on_data(data)
        if self._error_timer is not None:
            self._size += len(data)
            if self._size >= LARGEST_ERROR_BODY:
                self._end_error()

    def _unpack(self, call: Call) -> bool:
        """Delivers what one iteration may decompress. Returns whether more is left."""
        assert self._steps is not None
        left = SLICE
        try:
            for data in self._steps:
                if data:
                    self._pass(call, data)
                left -= max(len(data), LEAST_STEP)
                if call.receiver is None:
                    break
                if left <= 0:
                    return True
        except UnreadableBody as error:
            self._incoming.spoil(str(error))
        self._steps = None
        return False

    # ends

    def _finish(self, call: Call) -> None:
        """Releases or closes the connection first, so that a request sent from `on_complete` may use it."""
        if self._packed is not None and not self._packed.whole:
            self._break_off(call, Fault.CUT, "the host's compressed answer ends within")
            return
        if self._error_timer is not None:
            self._error_timer.cancel()
        incoming = self._incoming
        clean = incoming.reusable and not (incoming.problem or self._rest or self.lost)
        if clean and self.transport.get_write_buffer_size() == 0:  # nothing is under way in either direction
            self._call = None
            self._used = True
            if call.paused or self._behind:
                self.transport.resume_reading()
            self._begin()
            self._owner.release(self)
        else:
            self.close()
        if (receiver := call.end()) is not None:
            receiver.on_complete()

    def _end_error(self) -> None:
        """Ends an error's body: its time or its size is used up."""
        call = self._call
        self.close()
        if call is not None and (receiver := call.end()) is not None:
            receiver.on_complete()

    def _break_off(self, call: Call, fault: Fault, message: str) -> None:
        """The rest of the answer will not arrive. An error is complete without it; an empty body is replaced by
        `message`."""
        if self._incoming.status in (0, 200):
            self.fail(fault, message)
            return
        if not self._size and call.receiver is not None:
            call.receiver.on_data(message.encode())
        self._end_error()
