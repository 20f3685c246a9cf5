"""One connection to a host: it asks one question at a time and hands the answer over as it arrives.

    socket -> data_received -> Incoming -> (unpacked) -> Receiver.on_response, on_data*, on_complete
                    |                                                or on_lost, whatever went wrong
    complete and reusable -> owner.release        closed -> owner.forget

The receiver is called after each read, so it may cancel, pause or send again from within any callback. No read holds
the loop: what is more than a slice is parsed slice by slice, one a turn of the loop, and nothing is read meanwhile.

An answer that is not a 200 is an error, and what its host says of it comes at once or not at all: such a body is whole
after half a second, after 64 KB, or when the connection ends.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol, cast

from gateway.types import Fault
from gateway.upstream.transport.coding import Chain, UnreadableBody, unpacker
from gateway.upstream.transport.incoming import Incoming

AT_ONCE = 1.0  # seconds after a request within which a kept connection's loss shows that the host had left before it
SLICE = 8 * 1024  # bytes that are parsed in one turn of the loop; of tiny events that is some ms
SMALL = 1024  # bytes that a step of unpacking counts as, at least
ERROR_PATIENCE = 0.5  # seconds for the body of an error
LARGEST_ERROR = 64 * 1024  # bytes of it


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


class SentCall(Protocol):
    """A request under way, as its sender sees it."""

    @property
    def asked(self) -> bool:
        """Whether it was written to the host, all of it as far as can be known."""

    def cancel(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class ConnectionOwner(Protocol):
    """Who opens connections and keeps them between calls."""

    def open(self, call: "Call") -> None: ...
    def release(self, connection: "Connection") -> None: ...
    def forget(self, connection: "Connection") -> None: ...


class Call:
    """One request, from `send` until its receiver was told the end or `cancel` was called."""

    __slots__ = ("_asked", "_owner", "body", "connect_timeout", "connection", "head", "opening", "paused", "receiver")

    def __init__(
        self, owner: ConnectionOwner, head: bytes, body: bytes, receiver: Receiver, connect_timeout: float
    ) -> None:
        self._owner = owner
        self.head = head
        self.body = body
        self.receiver: Receiver | None = receiver  # None once the call has ended
        self.connect_timeout = connect_timeout
        self.connection: Connection | None = None
        self.opening: asyncio.Task[None] | None = None  # set while a connection is being made for this call
        self.paused = False
        self._asked = False

    def __repr__(self) -> str:
        state = "ended" if self.receiver is None else "asked" if self.connection else "connecting"
        return f"<Call {state}{' paused' if self.paused else ''}>"

    @property
    def asked(self) -> bool:
        """Whether the request was written to a host; also once the call has ended."""
        return self._asked if self.connection is None else not self.connection.writing

    def cancel(self) -> None:
        """Close the connection, or stop making it. No callback comes afterwards."""
        opening, connection = self.opening, self.connection
        self._end()
        if opening is not None:
            opening.cancel()
        if connection is not None:
            connection.close()

    def pause(self) -> None:
        """Read no more from the host, so that its sending blocks."""
        self.paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

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
        if self.connection is not None:
            self._asked = not self.connection.writing
        self.connection = self.opening = None
        self.head = self.body = b""
        return receiver


class Connection(asyncio.Protocol):
    """A socket, what is parsed of its bytes, and the call that it serves (None while it is kept)."""

    transport: asyncio.Transport

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._incoming = Incoming()
        self._call: Call | None = None
        self.born = self.since = 0.0  # loop times: when it was made, when it was last released
        self.lost = False
        self.writing = False  # whether much of a request is still to be written
        self._exc: Exception | None = None  # by which it was lost
        self._used = False  # whether an earlier call was answered here
        self._asked_at = 0.0
        self._turn: asyncio.Handle | None = None  # set while a turn is to come
        self._rest: deque[memoryview] = deque()  # read, but not yet parsed
        self._begin()

    def _begin(self) -> None:
        """Forget the last answer."""
        self._incoming.begin()
        self._announced = False  # whether the receiver has the head
        self._flows = False  # whether it is that of a 200, and pieces of the body go to the receiver as they are
        self._packed: Chain | None = None
        self._steps: Iterator[bytes] | None = None  # of what is being unpacked
        self._behind = False  # whether there are any, or more is read than parsed
        self._patience: asyncio.TimerHandle | None = None
        self._size = 0  # bytes of body that the receiver has, of an error

    def __repr__(self) -> str:
        return f"<Connection {'closed' if self.lost else 'busy' if self._call else 'idle'}>"

    def ask(self, call: Call) -> None:
        """Send a call's request; its answer goes to its receiver."""
        self._call = call
        call.connection, call.opening = self, None
        if call.paused:
            self.transport.pause_reading()
        if self._used:
            self._asked_at = self._loop.time()
        self.transport.writelines((call.head, call.body))

    def pause(self) -> None:
        """Read no more; what was read waits as well."""
        if not self.lost:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on with what was read, or else read on."""
        if self._behind:
            self._turn = self._turn or self._loop.call_soon(self._go_on)
        elif not self.lost:
            self.transport.resume_reading()

    def close(self) -> None:
        """Close at once. Nobody is told."""
        self._call = None
        self._rest.clear()
        if self._patience is not None:
            self._patience.cancel()
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

    def pause_writing(self) -> None:
        self.writing = True

    def resume_writing(self) -> None:
        self.writing = False

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:
            self.close()  # bytes that nobody asked for
        elif self._behind or len(data) > SLICE:
            self._rest.append(memoryview(data))
            self._fall_behind()
        else:
            incoming = self._incoming
            incoming.feed(data)
            pieces = incoming.pieces
            if self._flows and pieces and not incoming.complete and not incoming.problem and call.receiver is not None:
                incoming.pieces = []
                call.receiver.on_data(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            else:
                self._deliver(call)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost, self._exc = True, exc
        self._owner.forget(self)
        if not self._behind:
            self._lose()

    def _lose(self) -> None:
        """The connection is lost, and all that it brought is delivered."""
        self._incoming.close()
        call, incoming = self._call, self._incoming
        if call is None:
            return
        if incoming.until_close and self._exc is None:
            incoming.complete = True
            self._finish(call)
        elif self._died_unasked():
            self._call = None
            call.retry()
        else:
            how = "closed the connection" if self._exc is None else "broke the connection"
            self._break_off(call, Fault.CUT, f"the host {how} {'within' if incoming.status else 'before'} the answer")

    def _died_unasked(self) -> bool:
        """Whether the host had left before it was asked. One that waits and then leaves may have worked, and bill."""
        unanswered = self._used and not self._incoming.status and not self._incoming.quiet
        return unanswered and self._loop.time() - self._asked_at < AT_ONCE

    # large reads

    def _fall_behind(self) -> None:
        """More has come than one turn should handle: read no more until it is done."""
        self._behind = True
        if self._turn is None:
            if not self.lost:
                self.transport.pause_reading()
            self._turn = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """One turn's share of what has come."""
        self._turn = None
        call = self._call
        if call is None or call.paused or not self._behind:  # `resume` comes back
            return
        if self._steps is None:
            self._incoming.feed(self._next_slice())
        self._deliver(call)
        if self._call is not call or not self._behind:
            return
        if self._steps is not None or self._rest:
            self._turn = self._turn or self._loop.call_soon(self._go_on)
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
        """Pass on what has been parsed; stop where the receiver cancels."""
        incoming = self._incoming
        if incoming.status and not self._announced:
            self._announce(call)
        if incoming.pieces and call.receiver is not None:
            pieces, incoming.pieces = incoming.pieces, []
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._packed is None:
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

    def _announce(self, call: Call) -> None:
        self._announced = True
        incoming = self._incoming
        headers = incoming.headers
        if incoming.status == 200:
            self._flows = not incoming.packed
        else:
            self._patience = self._loop.call_later(ERROR_PATIENCE, self._wait_no_more)
        if incoming.packed:
            headers = self._choose_unpacker(headers)
        assert call.receiver is not None
        call.receiver.on_response(incoming.status, headers)

    def _choose_unpacker(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The head as it would be of the body unpacked."""
        try:
            self._packed = unpacker(headers)
        except UnreadableBody as error:
            self._incoming.spoil(str(error))
        return [header for header in headers if header[0] != b"content-encoding"]

    def _pass(self, call: Call, data: bytes) -> None:
        assert call.receiver is not None
        call.receiver.on_data(data)
        if self._patience is not None:
            self._size += len(data)
            if self._size >= LARGEST_ERROR:
                self._wait_no_more()

    def _unpack(self, call: Call) -> bool:
        """Passes on what one turn may unpack. Whether there is more."""
        assert self._steps is not None
        left = SLICE
        try:
            for data in self._steps:
                if data:
                    self._pass(call, data)
                left -= max(len(data), SMALL)
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
        """Keep or close the connection first, so that a request sent from `on_complete` may use it."""
        if self._packed is not None and not self._packed.whole:
            self._break_off(call, Fault.CUT, "the host's compressed answer ends within")
            return
        if self._patience is not None:
            self._patience.cancel()
        if self._is_reusable():
            self._call = None
            self._used = True
            if call.paused or self._behind:
                self.transport.resume_reading()
            self._begin()
            self._owner.release(self)
        else:
            self.close()
        call.complete()

    def _is_reusable(self) -> bool:
        """Whether the connection is in order, with nothing under way in either direction."""
        incoming = self._incoming
        clean = incoming.reusable and not incoming.problem and not self._rest and not self.lost
        return clean and self.transport.get_write_buffer_size() == 0

    def _wait_no_more(self) -> None:
        """An error's body has had its time."""
        call = self._call
        self.close()
        if call is not None:
            call.complete()

    def _break_off(self, call: Call, fault: Fault, message: str) -> None:
        """The rest of the answer cannot be had. An error is one without it; where none of it came, `message` does."""
        if self._incoming.status in (0, 200):
            self.fail(fault, message)
            return
        if not self._size and call.receiver is not None:
            call.receiver.on_data(message.encode())
        self._wait_no_more()
