"""Requests that two servers in a row might read differently: refused before a host is called, or read in one way."""

import asyncio
import re
from contextlib import closing
from pathlib import Path

import pytest

from gateway.server.framing import framing_problem
from tests.reliability.fuzzing import http as fuzzing
from tests.support.client import question
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, completion

BODY = question()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
HOT, COLD = b"/v1/chat/completions", b"/v1/chat/completions?cold"


def post(headers: bytes, body: bytes = BODY, target: bytes = HOT, version: bytes = b"1.1") -> bytes:
    return b"POST %b HTTP/%b\r\nHost: localhost\r\n%b\r\n%b" % (target, version, headers, body)


INVALID = post(b"Content-Length: 2\r\n", b"{}")  # where it is read as a request, it has an answer at once
REFUSED = {
    "two lengths": (400, post(LENGTH + b"Content-Length: 3\r\n")),
    "the same length twice": (400, post(LENGTH * 2)),
    "a list of lengths": (400, post(b"Content-Length: 3, 3\r\n")),
    "a length with a sign": (400, post(b"Content-Length: +3\r\n")),
    "a negative length": (400, post(b"Content-Length: -3\r\n")),
    "an empty length": (400, post(b"Content-Length: \r\n")),
    "a length of 23 digits": (400, post(b"Content-Length: " + b"9" * 23 + b"\r\n")),
    "a length and chunks": (400, post(LENGTH + CHUNKED, CHUNKS)),
    "chunks and a length": (400, post(CHUNKED + LENGTH, CHUNKS)),
    "gzip only": (501, post(b"Transfer-Encoding: gzip\r\n", CHUNKS)),
    "gzip, chunked": (501, post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS)),
    "gzip, chunked on a cold route": (501, post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS, COLD)),
    "identity, chunked": (501, post(b"Transfer-Encoding: identity, chunked\r\n", CHUNKS)),
    "identity and chunked": (501, post(b"Transfer-Encoding: identity\r\n" + CHUNKED, CHUNKS)),
    "chunked and identity": (400, post(CHUNKED + b"Transfer-Encoding: identity\r\n", CHUNKS)),
    "chunked twice": (400, post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS)),
    "xchunked": (501, post(b"Transfer-Encoding: xchunked\r\n", CHUNKS)),
    "a tab before chunked": (400, post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS)),
    "a space before the colon": (400, post(b"Transfer-Encoding : chunked\r\n", CHUNKS)),
    "chunks in HTTP/1.0": (400, post(CHUNKED, CHUNKS, version=b"1.0")),
    "a folded header": (400, post(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS)),
    "a bare LF": (400, post(b"X-A: b\n" + LENGTH)),
    "a bare CR": (400, post(b"X-A: b\r" + LENGTH)),
    "a NUL": (400, post(b"X-A: b\0\r\n" + LENGTH)),
    "a chunk size in 0x": (400, post(CHUNKED, b"0x" + CHUNKS)),
    "a negative chunk size": (400, post(CHUNKED, b"-" + CHUNKS)),
    "a huge chunk size": (400, post(CHUNKED, b"f" * 17 + b"\r\n")),
    "a chunk size that ends with LF": (400, post(CHUNKED, CHUNKS.replace(b"\r\n", b"\n", 1))),
    "a chunk longer than its size": (400, post(CHUNKED, CHUNKS.replace(b"\r\n0", b"XX\r\n0"))),
    "a length in the trailers": (400, post(CHUNKED, CHUNKS[:-2] + b"Content-Length: 3\r\n\r\n")),
    "an unknown expectation": (417, post(LENGTH + b"Expect: 200-maybe\r\n")),
    "a further expectation": (417, post(LENGTH + b"Expect: 100-continue, x\r\n")),
    "a URL of another host": (400, post(LENGTH, target=b"http://evil.example" + HOT)),
    "a URL with a user": (400, post(LENGTH, target=b"http://localhost@evil.example" + HOT)),
    "a URL of this host with a user": (400, post(LENGTH, target=b"http://me@localhost" + HOT)),
    "a URL of another port": (400, post(LENGTH, target=b"http://localhost:81" + HOT)),
    "a URL of another scheme": (400, post(LENGTH, target=b"ftp://localhost" + HOT)),
    "two hosts": (400, post(LENGTH + b"Host: localhost\r\n")),
    "no host": (400, post(LENGTH).replace(b"Host: localhost\r\n", b"")),
    "two hosts on a cold route": (400, post(LENGTH + b"Host: localhost\r\n", target=COLD)),
    "no host on a cold route": (400, post(LENGTH, target=COLD).replace(b"Host: localhost\r\n", b"")),
    "a list of hosts": (400, post(LENGTH).replace(b"localhost", b"localhost, evil.example")),
    "a later version": (400, post(LENGTH, version=b"1.2")),
    "HTTP/2 in plain text": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "CONNECT": (400, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"),
}
SERVED = {
    "chunks": post(CHUNKED, CHUNKS),
    "chunks in upper case": post(CHUNKED.replace(b"chunked", b"CHUNKED"), CHUNKS),
    "a TE header": post(LENGTH + b"TE: trailers, deflate\r\n"),
    "a URL of this host": post(LENGTH, target=b"http://localhost" + HOT),
    "a URL of this host with its port": post(LENGTH, target=b"http://LOCALHOST:80" + HOT),
    "an expectation in HTTP/1.0": post(LENGTH + b"Expect: 100-continue\r\n", version=b"1.0"),
    "headers named in Connection": post(LENGTH + b"Connection: host, content-length\r\n"),
}


@DIRECT_ONLY  # uvicorn's own connection is not used by `gateway serve`
async def test_each_is_refused_and_its_rest_is_no_request(gateway: Gateway) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"a/fp8": host.url}) as running:
        found = {name: await status(running, data + INVALID) for name, (_, data) in REFUSED.items()}
        assert found == {name: expected for name, (expected, _) in REFUSED.items()}
        assert host.requests == []
        served = {name: await status(running, data) for name, data in SERVED.items()}
        assert served == dict.fromkeys(SERVED, 200)
        assert len(host.requests) == len(SERVED)


async def status(running: Running, data: bytes) -> int:
    """The status of the only answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    with closing(writer):
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        rest = await reader.read()
    assert not re.search(rb"HTTP/1\.1 [1-5]", rest), f"two answers to {data!r}: {rest!r}"
    return int(head.split(b" ")[1])


@pytest.mark.parametrize("host", [b"", b"[", b"a b", b"\xff", b"h:port"])
def test_any_host_beside_an_absolute_target(host: bytes) -> None:
    assert framing_problem(b"http://localhost/x", "1.1", [(b"host", host)]) is not None


def test_a_refused_request_whose_body_is_not_http_has_one_answer(tmp_path: Path) -> None:
    served = fuzzing.Gateway(tmp_path)
    served.open()
    try:
        for host in (b"27.0.0.1", b"127.0.0.1"):
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: " + host + b"\r\ntransfer-encoding: chunked\r\n\r\n"
            served.check((head + b' x\r\n7\r\n{"model\r\n0\r\n\r\n', []))
    finally:
        served.close()
