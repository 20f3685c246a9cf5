"""However the network cuts an answer into pieces, the receiver hears what h11 reads in it.

Connections are fed directly, on a socket made of nothing, so that thousands of answers take seconds.
"""

import asyncio
import itertools
import re
from collections import deque
from collections.abc import Callable

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.upstream.transport.connection import LARGEST_ERROR_BODY, SLICE, Call, Connection
from tests.upstream.recorder import Recorder

Heard = tuple[int, list[tuple[bytes, bytes]], bytes, str]  # status, headers, body, end


class Socket(asyncio.Transport):
    """A transport that goes nowhere; `unsent` bytes are said to wait for the host."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.closed = False
        self.lost = False
        self.unsent = unsent

    def writelines(self, list_of_data: object) -> None: ...

    def pause_reading(self) -> None:
        assert not self.lost, "uvloop's transports refuse this"

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.closed = True


class Loop(asyncio.AbstractEventLoop):
    """A loop that turns when it is told to. Its time stands still, so no timer goes off."""

    def __init__(self) -> None:
        self.turns: deque[Callable[[], object]] = deque()
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return 0.0

    def call_soon(self, callback: Callable[..., object], *_: object, **__: object) -> asyncio.Handle:
        self.turns.append(callback)
        return asyncio.Handle(callback, (), self)

    def call_later(
        self, delay: float, callback: Callable[..., object], *_: object, **__: object
    ) -> asyncio.TimerHandle:
        self.timers.append(asyncio.TimerHandle(delay, callback, (), self))
        return self.timers[-1]

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def turn(self) -> None:
        while self.turns:
            self.turns.popleft()()


class Owner:
    """Counts what the connection reports."""

    def __init__(self) -> None:
        self.opened = self.released = self.forgotten = 0

    def open(self, call: Call) -> None:
        self.opened += 1

    def release(self, connection: Connection) -> None:
        self.released += 1

    def forget(self, connection: Connection) -> None:
        self.forgotten += 1


class Wire:
    """A connection under test with a call under way."""

    def __init__(self, socket: Socket | None = None) -> None:
        self.owner, self.receiver, self.socket = Owner(), Recorder(), socket or Socket()
        self.loop = Loop()
        self.connection = Connection(self.owner, self.loop)
        self.connection.connection_made(self.socket)
        self.connection.send(Call(self.owner, b"GET / HTTP/1.1\r\n\r\n", b"", self.receiver, 1.0))

    def feed(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            if not self.socket.closed:
                self.connection.data_received(piece)
                self.loop.turn()

    def lose(self) -> None:
        self.socket.lost = True
        self.connection.connection_lost(None)

    def close(self) -> None:
        self.lose()
        self.loop.turn()

    def heard(self) -> Heard:
        end = self.receiver.fault or str(self.receiver.end)
        return self.receiver.status, self.receiver.headers, self.receiver.body, end


def read_by_h11(data: bytes) -> Heard:
    """What h11 makes of an answer that is followed by the connection's end; end `garbage` when it is not one."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    status, headers, body = 0, [], b""
    try:
        client.receive_data(data)
        client.receive_data(b"")
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return status, headers, body, "garbage"
    except h11.RemoteProtocolError:
        return status, headers, body, "garbage"
    return status, headers, body, "complete"


def without_noise(data: bytes) -> bytes:
    """Without what llhttp passes over and h11 does not: blank lines before an answer, odd bytes in a reason phrase."""
    head, blank, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    interim = re.match(rb"HTTP/1\.[01] 1", head)
    return re.sub(rb"^(HTTP/1\.[01] \d{3}) [^\r\n]*", rb"\1", head) + blank + (without_noise(rest) if interim else rest)


VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
NAMES = st.text("abcXYZ019-_.", min_size=1, max_size=12).map(lambda name: "X-" + name)
VALUES = st.text(VISIBLE | st.just(" "), max_size=30).map(str.strip)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
BODIES = st.lists(st.binary(min_size=1, max_size=200), max_size=6)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid answer as h11 writes it: perhaps after a 103; chunked, or with a length, or until the close."""
    framing = draw(st.sampled_from(["chunked", "length", "close"]))
    version = "1.0" if framing == "close" else "1.1"
    server = h11.Connection(h11.SERVER)
    server.receive_data(f"GET / HTTP/{version}\r\nhost: h\r\n\r\n".encode())
    server.next_event()
    data = b""
    if version == "1.1" and draw(st.booleans()):
        data += server.send(h11.InformationalResponse(status_code=103, headers=draw(HEADERS))) or b""
    body, headers = draw(BODIES), draw(HEADERS)
    status = draw(st.just(200) | st.integers(200, 599).filter(lambda code: code not in (204, 304)))
    if framing == "length":
        headers = [*headers, ("Content-Length", str(sum(map(len, body))))]
    data += server.send(h11.Response(status_code=status, headers=headers, reason=draw(st.just("OK") | VALUES))) or b""
    for piece in body:
        data += server.send(h11.Data(data=piece)) or b""
    return data + (server.send(h11.EndOfMessage()) or b"")


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)] if data else []
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


WITHOUT_BODY = b"the host closed the connection within the answer"
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(answers(), CUTS)
def test_any_split_is_read_as_h11_reads_it(data: bytes, cuts: list[int]) -> None:
    wire = Wire()
    wire.feed(split(data, cuts))
    wire.close()
    assert wire.heard() == read_by_h11(data)
    assert wire.owner.forgotten == 1


@given(answers())
@settings(max_examples=30)
def test_byte_by_byte(data: bytes) -> None:
    wire = Wire()
    wire.feed([data[index : index + 1] for index in range(len(data))])
    wire.close()
    assert wire.heard() == read_by_h11(data)


@given(answers(), CUTS, st.integers(0, 10_000))
def test_a_shortened_answer_is_cut_unless_h11_calls_it_whole(data: bytes, cuts: list[int], keep: int) -> None:
    data = data[: keep % len(data)]
    wire = Wire()
    wire.feed(split(data, cuts))
    wire.close()
    expected = read_by_h11(data)
    is_error = expected[0] not in (0, 200)  # which needs no end
    assert wire.heard()[3] == ("complete" if is_error or expected[3] == "complete" else "cut")
    assert wire.receiver.status == expected[0]
    assert wire.receiver.body == expected[2] or (is_error and wire.receiver.body == WITHOUT_BODY)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer in which some bytes were replaced, removed or doubled."""
    data = bytearray(draw(answers()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b":", b" ", b"0", b"HTTP/1.1 200 OK\r\n\r\n"])
        )
    return bytes(data)


@given(damaged() | st.binary(max_size=300), CUTS)
@settings(max_examples=400)
@example(b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", [])
@example(b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", [])
@example(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n", [])
def test_a_damaged_answer_ends_once_and_is_whole_only_where_h11_agrees(data: bytes, cuts: list[int]) -> None:
    wire = Wire()
    wire.feed(split(data, cuts))
    wire.close()
    assert wire.heard()[3] in ("complete", "cut", "garbage")
    if wire.heard()[3] == "complete" and wire.receiver.status == 200:
        status, _, body, end = read_by_h11(without_noise(data))
        assert (wire.receiver.status, wire.receiver.body, "complete") == (status, body, end)


@given(answers(), CUTS, st.sampled_from(["when_response", "when_data"]))
def test_after_cancel_nothing_is_delivered(data: bytes, cuts: list[int], moment: str) -> None:
    wire = Wire()
    call = wire.connection._call
    assert call is not None
    setattr(wire.receiver, moment, call.cancel)
    wire.feed(split(data, cuts))
    wire.close()
    if moment == "when_response":
        assert (wire.receiver.pieces, wire.receiver.end) == ([], None)
    elif wire.receiver.pieces:
        assert (len(wire.receiver.pieces), wire.receiver.end) == (1, None)
    assert wire.owner.opened == 0


@given(answers(), st.integers(0, 3))
def test_pieces_of_one_read_arrive_as_one(data: bytes, extra: int) -> None:
    wire = Wire()
    wire.feed([data])
    assert len(wire.receiver.pieces) <= 1


def test_a_connection_is_not_kept_while_the_request_is_still_being_sent() -> None:
    whole = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"
    sent, unsent = Wire(), Wire(Socket(unsent=10))
    sent.feed([whole])
    unsent.feed([whole])
    assert (sent.owner.released, sent.socket.closed) == (1, False)
    assert (unsent.owner.released, unsent.socket.closed) == (0, True)
    assert unsent.receiver.end == "complete"


def test_endless_framing_without_content_is_garbage() -> None:
    for start, more in [
        (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 8192),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 300),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x-trailer: 1\r\n" * 600),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"e" * 8192),
    ]:
        wire = Wire()
        wire.feed([start] * bool(start) + [more] * 20)
        assert wire.receiver.fault == "garbage", start
        assert wire.socket.closed


def test_a_large_head_is_refused_in_one_read_too_and_a_large_body_is_not() -> None:
    head, body = Wire(), Wire()
    head.feed([b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"a" * 1000) * 70 + b"content-length: 0\r\n\r\n"])
    body.feed([b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"a" * 200_000])
    assert (head.receiver.fault, head.receiver.status) == ("garbage", 0)
    assert (body.receiver.end, len(body.receiver.body)) == ("complete", 200_000)


def test_what_one_turn_parses_is_bounded_and_what_follows_waits() -> None:
    wire = Wire()
    wire.feed([b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"])
    wire.connection.data_received(b"a" * 50_000)
    wire.connection.data_received(b"b" * 50_000)  # a transport may have had it already
    seen = []
    while wire.loop.turns:
        wire.loop.turns.popleft()()
        seen.append(len(wire.receiver.body))
    assert max(b - a for a, b in itertools.pairwise([0, *seen])) <= SLICE
    assert (wire.receiver.body, wire.receiver.end) == (b"a" * 50_000 + b"b" * 50_000, "complete")
    assert wire.owner.released == 1


def test_an_end_that_comes_behind_a_large_read_is_delivered_last() -> None:
    wire = Wire()
    call = wire.connection._call
    assert call is not None
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 50_000)
    wire.lose()
    wire.loop.turns.popleft()()
    call.pause()
    wire.loop.turn()
    assert (wire.receiver.end, len(wire.receiver.body) < 50_000) == (None, True)
    call.resume()
    wire.loop.turn()
    assert (len(wire.receiver.body), wire.receiver.end) == (50_000, "complete")


def test_a_paused_call_gets_nothing_more_of_a_large_read_until_it_goes_on() -> None:
    wire = Wire()
    call = wire.connection._call
    assert call is not None
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n" + b"a" * 50_000)
    wire.loop.turns.popleft()()
    call.pause()
    wire.loop.turn()
    assert 0 < len(wire.receiver.body) <= SLICE
    call.resume()
    call.pause()
    call.resume()
    wire.loop.turn()
    assert (len(wire.receiver.body), wire.receiver.end) == (50_000, "complete")


def test_what_is_left_of_a_large_read_is_not_parsed_after_a_cancel() -> None:
    wire = Wire()
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n" + b"a" * 50_000)
    wire.loop.turns.popleft()()
    call = wire.connection._call
    assert call is not None
    call.cancel()
    wire.loop.turn()
    assert len(wire.receiver.body) <= SLICE
    assert wire.receiver.end is None


def test_a_connection_with_more_to_parse_is_not_kept() -> None:
    wire = Wire()
    wire.feed([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi" + b" " * 50_000])
    assert (wire.receiver.body, wire.receiver.end) == (b"hi", "complete")
    assert (wire.owner.released, wire.socket.closed) == (0, True)


def test_unexpected_bytes_on_an_idle_connection_close_it() -> None:
    wire = Wire()
    wire.feed([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"])
    assert (wire.owner.released, wire.socket.closed) == (1, False)
    wire.connection.data_received(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    assert wire.socket.closed
    wire.close()
    wire.connection.data_received(b"more")
    assert wire.receiver.body == b"hi"


def test_a_receiver_that_pauses_and_goes_on_leaves_no_turn_to_the_next_call() -> None:
    wire = Wire()
    call = wire.connection._call
    assert call is not None

    def hesitates() -> None:
        call.pause()
        call.resume()

    wire.receiver.when_data = hesitates
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n" + b"a" * 9_000)
    while not wire.owner.released:
        wire.loop.turns.popleft()()
    second = Recorder()
    wire.connection.send(Call(wire.owner, b"GET / HTTP/1.1\r\n\r\n", b"", second, 1.0))
    wire.loop.turn()
    wire.feed([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"])
    assert (wire.receiver.end, second.body, second.end) == ("complete", b"hi", "complete")


@pytest.mark.parametrize("end", ["whole", "lost", "cancelled", "without end"])
def test_the_patience_with_an_errors_body_ends_with_it(end: str) -> None:
    wire = Wire()
    call = wire.connection._call
    assert call is not None
    wire.feed([b"HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\n", b"why"])
    (patience,) = wire.loop.timers
    if end == "whole":
        wire.feed([b" so"])
    elif end == "lost":
        wire.close()
    elif end == "cancelled":
        call.cancel()
    else:
        patience._run()
    assert patience.cancelled() or end == "without end"
    assert wire.receiver.end == (None if end == "cancelled" else "complete")
    assert wire.owner.released == (end == "whole")


def test_the_patience_with_an_error_is_half_a_second_or_64_kb() -> None:
    wire = Wire()
    wire.feed([b"HTTP/1.1 500 No\r\n\r\n", *[b"x" * 4096] * (LARGEST_ERROR_BODY // 4096 - 1), b"x" * 4095])
    assert [timer.when() for timer in wire.loop.timers] == [0.5]
    assert wire.receiver.end is None
    wire.feed([b"x"])
    assert (wire.receiver.end, len(wire.receiver.body)) == ("complete", LARGEST_ERROR_BODY)
    assert wire.socket.closed


def test_a_200_needs_no_patience() -> None:
    wire = Wire()
    wire.feed([b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n", b"why"])
    assert wire.loop.timers == []
