"""The faults of clients, each as bytes on a connection of its own, in front of a host that is well.

A fault acts on a `Client` and ends when it has seen enough: what it returns is what the client got.
"""

import asyncio
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.asking import QUESTION
from tests.faults.scripts import EVENTS, STREAM, event, good, is_silent, said
from tests.support.host import Out, Received, Script

PATH = "POST /v1/chat/completions HTTP/1.1\r\n"
HOST = "host: 127.0.0.1\r\n"
KEY = "sk-of-the-table"
PATIENCE = 35.0  # seconds that a client of the table stays: longer than any deadline of the gateway
MEGABYTE = 2**20


class Client:
    """One connection to the gateway. `model` is the model of this trial."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str) -> None:
        self.reader, self.writer, self.model = reader, writer, model

    def body(self, **fields: object) -> bytes:
        asked = {"model": self.model, "messages": [{"role": "user", "content": QUESTION}], **fields}
        return json.dumps(asked).encode()

    def request(self, body: bytes, *lines: str, path: str = PATH, host: str = HOST, key: str = KEY) -> bytes:
        """A whole request, with these header lines beside the usual ones."""
        usual = [f"authorization: Bearer {key}", "content-type: application/json", f"content-length: {len(body)}"]
        head = "".join(f"{line}\r\n" for line in (*usual, *lines))
        return f"{path}{host}{head}\r\n".encode() + body

    def question(self, stream: bool = True) -> bytes:
        return self.request(self.body(stream=stream))

    async def send(self, data: bytes) -> None:
        """Send all, unless the gateway does not take it any more."""
        try:
            self.writer.write(data)
            async with asyncio.timeout(PATIENCE):
                await self.writer.drain()
        except (OSError, TimeoutError):
            pass

    async def answer(self) -> str:
        """The status and the error's name, or how the connection ended."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._answer()
        except TimeoutError:
            return f"nothing for {PATIENCE:.0f} s"
        except asyncio.IncompleteReadError:
            return "connection closed"
        except OSError:
            return "connection reset"

    async def _answer(self) -> str:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        if status < 200:
            return await self._answer()
        if "content-length: " in head:
            body = await self.reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
        else:
            body = await self.reader.readuntil(b"\r\n0\r\n\r\n") if "chunked" in head else b""
        return (
            f"{status} `{_error(body)}`" if status >= 400 else f"{status}, {'whole' if b'ten' in body else 'not whole'}"
        )


def _error(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error.get("error_code") or error.get("code") or error.get("type"))
    except (ValueError, LookupError, AttributeError, TypeError):
        return body[:30].decode("latin-1").replace("\n", " ").strip()


Data = Callable[[Client], bytes]
Act = Callable[[Client, bytes], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class ClientFault:
    """`expect` is the beginning of what the client should get; empty where it has left. `left` says that the host must
    see it leave. `keys` tries it at a gateway with keys, else at one without. `waits`: nothing goes on but a wait, so
    that others may be tried meanwhile."""

    name: str
    act: Act
    expect: str = ""
    data: Data = Client.question
    left: bool = False
    keys: bool = False
    waits: bool = False
    host: Script | None = None


# ---- leaving


def _leaves(after: float, reset: bool = False) -> Act:
    async def act(client: Client, data: bytes) -> str:
        await client.send(data)
        await asyncio.sleep(after)
        if reset:
            linger = struct.pack("ii", 1, 0)
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.writer.transport.abort() if reset else client.writer.close()
        return ""

    return act


async def _stops_reading(client: Client, data: bytes) -> str:
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await client.send(data)
    await asyncio.sleep(PATIENCE)
    return ""


async def _reads_late(client: Client, data: bytes) -> str:
    await client.send(data)
    await asyncio.sleep(3.0)
    return await client.answer()


async def _half_closes(client: Client, data: bytes) -> str:
    await client.send(data)
    client.writer.write_eof()
    return await client.answer()


# ---- bytes


async def _sends(client: Client, data: bytes) -> str:
    await client.send(data)
    return await client.answer()


def _in_pieces(size: int, every: float) -> Act:
    async def act(client: Client, data: bytes) -> str:
        answer = asyncio.ensure_future(client.answer())
        for start in range(0, len(data), size):
            if answer.done():
                break
            await client.send(data[start : start + size])
            await asyncio.sleep(every)
        return await answer

    return act


def _bytes(name: str, data: Data, expect: str = "400", act: Act = _sends, **fields: Any) -> ClientFault:
    """Bytes as they are, built before the clock starts."""
    return ClientFault(name, act, expect, data, **fields)


def _body(name: str, body: Data, expect: str = "400", lines: Sequence[str] = (), **fields: Any) -> ClientFault:
    return _bytes(name, lambda client: client.request(body(client), *lines), expect, **fields)


def _asks(name: str, expect: str, *lines: str, keys: bool = False, **named: str) -> ClientFault:
    """A good question with these header lines."""
    return _bytes(name, lambda client: client.request(client.body(), *lines, **named), expect, keys=keys)


def _head(client: Client) -> bytes:
    return client.request(client.body()).partition(b"\r\n\r\n")[0] + b"\r\nx: " + b"a" * 200


def _two_lengths(client: Client) -> bytes:
    return client.request(client.body(), "content-length: 5")


def _length_and_chunked(client: Client) -> bytes:
    return client.request(client.body(), "transfer-encoding: chunked")


def _chunked_with_trailer(client: Client) -> bytes:
    """A second `authorization` behind the body: trailers are no headers."""
    body = client.body()
    lines = f"{PATH}{HOST}authorization: Bearer {KEY}\r\ntransfer-encoding: chunked\r\n\r\n"
    return f"{lines}{len(body):x}\r\n".encode() + body + b"\r\n0\r\nauthorization: Bearer wrong\r\n\r\n"


def _nested(depth: int) -> bytes:
    return b'{"messages": ' + b"[" * depth + b"]" * depth + b"}"


def _containers(_: Client) -> bytes:
    """15 MB of valid JSON: 40,000 lists, 190 deep each."""
    one = b"[" * 190 + b"]" * 190
    return b'{"model": "m", "messages": [' + b",".join([one] * 40_000) + b"]}"


def _numbers(_: Client) -> bytes:
    return b'{"model": "m", "messages": [' + b"0," * 7_000_000 + b"0]}"


def _flat_lists(_: Client) -> bytes:
    return b'{"model": "m", "messages": [' + b"[]," * 5_000_000 + b"[]]}"


def _too_large(_: Client) -> bytes:
    return b'{"messages": "' + b"a" * (20 * MEGABYTE) + b'"}'


def _half_of_15_mb(client: Client) -> bytes:
    return client.request(b"a" * 15 * MEGABYTE, key="sk-wrong")[: 8 * MEGABYTE]


GZIP = ("content-encoding: gzip",)
LATIN = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Größe"}]}, ensure_ascii=False)
UPGRADE = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQBAAAAAAUAAEAA")


# ---- what the host does meanwhile


async def paced(request: Received, out: Out) -> None:
    """Ten words in a second where a stream is asked for."""
    if not request.json().get("stream"):
        await good(request, out)
        return
    await out.head(200, STREAM)
    for one in [*EVENTS, "[DONE]"]:
        await out.send(event(one))
        await asyncio.sleep(0.1)
    await out.end()


async def _endless(_: Received, out: Out) -> None:
    """Text without end, as fast as it is taken."""
    await out.head(200, STREAM)
    while True:
        await out.send(event(said("a" * 10_000)) * 10)


async def _late(request: Received, out: Out) -> None:
    await asyncio.sleep(1.0)
    await good(request, out)


def _whole(client: Client) -> bytes:
    return client.question(stream=False)


_FORM = ("sec-fetch-site: cross-site", "content-type: text/plain")
GROUPS: dict[str, list[ClientFault]] = {
    "Leaving": [
        ClientFault("leaves before the first token", _leaves(0.3), left=True, host=is_silent),
        ClientFault("leaves before the answer, not streamed", _leaves(0.3), data=_whole, left=True, host=is_silent),
        ClientFault("leaves after the first token", _leaves(0.5), left=True),
        ClientFault("resets after the first token", _leaves(0.5, reset=True), left=True),
        ClientFault("closes its own half and waits", _half_closes, "connection closed", data=_whole, host=_late),
        ClientFault("stops reading", _stops_reading, left=True, waits=True, host=_endless),
        ClientFault("reads 3 s late", _reads_late, "200, whole"),
    ],
    "Bytes": [
        _bytes("half a body, then nothing", lambda c: _whole(c)[:-20], "408", waits=True),
        _bytes("no byte at all", lambda _: b"", "connection closed", waits=True),
        _bytes("half a head, then nothing", lambda c: _whole(c)[:80], "408", waits=True),
        _bytes("a head of one byte every 0.2 s", _head, "408", _in_pieces(1, 0.2), waits=True),
        _bytes("a body of 10 bytes every 0.1 s", _whole, "200, whole", _in_pieces(10, 0.1), waits=True),
        _asks("a head of 200 KB", "431", "x: " + "a" * 200_000),
        _bytes("two lengths", _two_lengths),
        _bytes("a length and chunks", _length_and_chunked),
        _bytes("TLS", lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100),
        _bytes("HTTP/2 without asking", lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 40),
        _asks("asks for an upgrade to HTTP/2", "200, whole", *UPGRADE),
        _asks("Expect: 100-continue", "200, whole", "expect: 100-continue"),
        _body("no JSON", lambda _: b"{no json"),
        _body("JSON that is no object", lambda _: b"[1, 2]"),
        _body("no body", lambda _: b""),
        _body("text in Latin-1", lambda _: LATIN.encode("latin-1")),
        _body("JSON 100,000 deep", lambda _: _nested(100_000)),
        _body("15 MB of JSON lists, 190 deep", _containers),
        _body("15 MB of empty JSON lists", _flat_lists),
        _body("14 MB of JSON numbers", _numbers),
        _body("a body of 20 MB", _too_large, "413"),
        _body("gzip", lambda c: gzip.compress(c.body()), "200, whole", GZIP),
        _body("deflate", lambda c: zlib.compress(c.body()), "200, whole", ["content-encoding: deflate"]),
        _body("gzip that unpacks to 200 MB", lambda _: gzip.compress(b"a" * (200 * MEGABYTE)), "413", GZIP),
        _body("gzip that is none", Client.body, "400", GZIP),
        _body("an unknown content-encoding", Client.body, "415", ["content-encoding: foo"]),
        _asks("a path with a slash at its end", "200, whole", path="POST /v1/chat/completions/ HTTP/1.1\r\n"),
        _asks("HTTP/1.0", "200, whole", path="POST /v1/chat/completions HTTP/1.0\r\n"),
        _asks("GET where POST is meant", "405", path="GET /v1/chat/completions HTTP/1.1\r\n"),
    ],
    "Whom it is from": [
        _asks("a wrong key", "401", keys=True, key="sk-wrong"),
        _bytes("a wrong key and half of a 15 MB body", _half_of_15_mb, "401", keys=True, waits=True),
        _bytes("a wrong key in a trailer", _chunked_with_trailer, "200, whole", keys=True),
        _asks("no keys here: a foreign Host", "403", host="host: evil.example\r\n"),
        _asks("no keys here: a foreign Origin", "403", "origin: https://evil.example"),
        _asks("no keys here: another site's form", "403", *_FORM),
        _asks("no Host", "400", host=""),
        _asks("two Hosts", "40", "host: other"),
    ],
}
