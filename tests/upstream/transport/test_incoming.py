"""One answer's bytes as the parser reads them, without a connection around it."""

import pytest

from gateway.upstream.transport.incoming import QUIET_LIMIT, Incoming

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"


def read(*pieces: bytes) -> Incoming:
    incoming = Incoming()
    for piece in pieces:
        incoming.feed(piece)
    return incoming


def test_a_whole_answer() -> None:
    found = read(OK + b"Content-Length: 5\r\nX-Thing: One\r\n\r\nhel", b"lo")
    assert (found.status, found.pieces) == (200, [b"hel", b"lo"])
    assert found.headers == [(b"content-length", b"5"), (b"x-thing", b"One")]
    assert (found.complete, found.reusable, found.until_close, found.packed) == (True, True, False, False)
    assert (found.problem, found.quiet) == ("", 0)
    assert repr(found) == "<Incoming 200 complete>"


def test_before_its_head_is_complete() -> None:
    found = read(OK)
    assert (found.status, found.complete, found.quiet) == (0, False, len(OK))
    assert repr(found) == "<Incoming head>"


def test_the_next_answer_starts_anew() -> None:
    found = read(OK + b"content-encoding: gzip\r\nconnection: close\r\n\r\nbody")
    assert (found.packed, found.until_close) == (True, True)
    found = read(OK + b"content-encoding: gzip\r\ncontent-length: 0\r\n\r\n")
    found.begin()
    assert (found.status, found.headers, found.packed, found.complete, found.reusable) == (0, [], False, False, False)
    found.feed(HELLO)
    assert (found.status, found.pieces, found.problem) == (200, [b"hello"], "")


@pytest.mark.parametrize(
    ("head", "reusable", "until_close"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True, False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", False, False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nconnection: close\r\n\r\n0\r\n\r\n", False, False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, True),
    ],
)
def test_what_may_follow_on_its_connection(head: bytes, reusable: bool, until_close: bool) -> None:
    found = read(head)
    assert (found.status, found.problem) == (200, "")
    assert (found.reusable, found.until_close, found.complete) == (reusable, until_close, not until_close)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", "the host does not use HTTP/1.1"),
        (OK + b"transfer-encoding: br\r\n\r\n", "the host sent an unexpected transfer coding"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", "the host sent an unexpected status 101"),
        (b"HTTP/1.1 099 No\r\n\r\n", "the host sent an unexpected status 99"),
        (HELLO + HELLO, "the host sent a second answer"),
        (b"SSH-2.0", "the host sent bytes that are not HTTP: "),
    ],
)
def test_what_cannot_be_read(data: bytes, problem: str) -> None:
    assert read(data).problem.startswith(problem)


def test_an_interim_answer_leaves_nothing() -> None:
    found = read(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-encoding: gzip\r\n\r\n", HELLO)
    assert (found.headers, found.packed) == ([(b"content-length", b"5")], False)
    assert found.complete
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n").problem == ""
    assert not read(b"HTTP/1.1 100 Continue\r\n\r\n").complete


def test_trailers_are_no_headers() -> None:
    found = read(OK + b"transfer-encoding: chunked\r\ntrailer: x-late\r\n\r\n2\r\nhi\r\n0\r\nx-late: 1\r\n\r\n")
    assert found.complete
    assert [name for name, _ in found.headers] == [b"transfer-encoding", b"trailer"]


def test_headers_are_bounded() -> None:
    spare = len(OK) + len(b"x: \r\n")
    most = OK + b"x: " + bytes(b"a" * (QUIET_LIMIT - spare)) + b"\r\n"
    assert (len(most), read(most).problem) == (QUIET_LIMIT, "")
    assert read(most, b"\r").problem == f"the host sent over {QUIET_LIMIT} bytes of headers or framing without content"
    large = OK + b"x: " + b"a" * QUIET_LIMIT + b"\r\ncontent-length: 0\r\n\r\n"
    assert read(large).problem == f"the host sent headers of over {QUIET_LIMIT} bytes"


def test_a_large_body_in_the_read_of_its_head_does_not_count_as_headers() -> None:
    found = read(OK + b"content-length: %d\r\n\r\n" % (2 * QUIET_LIMIT) + bytes(2 * QUIET_LIMIT))
    assert (found.status, found.complete, found.problem) == (200, True, "")


def test_a_spoiled_answer_has_no_body() -> None:
    found = read(HELLO)
    found.spoil("it cannot be unpacked")
    assert (found.problem, found.pieces, found.complete) == ("it cannot be unpacked", [], False)
