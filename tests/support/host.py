"""A host made for tests: a real TCP server on loopback that answers each request as a script tells it to.

    async with ScriptedHost(streams(chunks("Hello"))) as host:      # one script for all requests
    async with ScriptedHost([answers(503, {}), script]) as host:    # one for each request, in order of arrival
        ... send to host.url; then await host.until(lambda: host.gone == 1)

A script is `async def script(request: Received, out: Out) -> None`. One that returns without `end()` leaves its answer
cut. Whatever a script raises (except the client's leaving) is raised again when the host closes.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.support.closing import stop

Json = dict[str, Any]
MODEL = "deepseek/deepseek-v3.2"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Out:
    """The answer's side of a connection. Everything but `cut` and `reset` waits until the client takes the bytes."""

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection
        self._chunked = False
        self.raw = connection.write  # sends bytes as they are, HTTP or not
        self.close = False  # whether the answer announced that the connection ends with it
        self.ended = False

    async def head(self, status: int = 200, headers: Mapping[str, str] = {}, chunked: bool = True) -> None:
        """Send status and headers. Without `chunked` and content-length, the answer lasts until the close."""
        headers = {name.lower(): value for name, value in headers.items()}
        headers |= {"transfer-encoding": "chunked"} if chunked else {}
        self._chunked = chunked
        self.close = headers.get("connection") == "close" or not (chunked or "content-length" in headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await self.raw(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1"))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, as one chunk when chunked."""
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data)

    async def end(self) -> None:
        if self._chunked:
            await self.raw(b"0\r\n\r\n")
        self.ended = True

    def cut(self) -> None:
        """Close in order (FIN), however far the answer is."""
        self._connection.left = True
        self._connection.transport.close()

    def reset(self) -> None:
        """Close with a RST. Bytes that the client has not read yet are lost to it."""
        self._connection.left = True
        sock = self._connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.transport.abort()

    async def closed(self) -> None:
        """Wait until the connection is closed, by the client or by us."""
        await self._connection.closed.wait()

    stall = closed  # the same wait, where the point is that nothing more is said


Script = Callable[[Received, Out], Awaitable[None]]


class _Connection(asyncio.StreamReaderProtocol):
    """Runs one script after the other, and notices at once when the client leaves."""

    def __init__(self, host: "ScriptedHost") -> None:
        super().__init__(asyncio.StreamReader(), self._started)
        self.host = host
        self.closed = asyncio.Event()
        self.left = False  # whether it was this side that closed
        self._running = False

    def _started(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self.transport = reader, writer, writer.transport
        self.task = asyncio.ensure_future(self._serve())
        self.host.accepted += 1
        self.host.connections.append(self)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # a client that has sent FIN is gone, not half open

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.host.gone += self._running and not self.left
        self.closed.set()

    async def write(self, data: bytes) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("the client has gone, or the script has closed")
        self._writer.write(data)
        await self._writer.drain()

    async def _serve(self) -> None:
        try:
            while await self._answer(await self._read()):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            self.host.errors.append(error)
            self.left = True
        if not self.transport.is_closing():
            self.transport.close()

    async def _read(self) -> Received:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        return Received(method, path, headers, body)

    async def _answer(self, request: Received) -> bool:
        """Whether the connection may take another request."""
        out = Out(self)
        self._running = True
        await self.host.take(request)(request, out)
        self._running = False
        return out.ended and not out.close and request.headers.get("connection") != "close"


class ScriptedHost:
    """`requests` in order of arrival, `accepted` connections so far, `gone` clients that left while a script ran."""

    def __init__(self, script: Script | Sequence[Script], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self.requests: list[Received] = []
        self.accepted = 0
        self.gone = 0
        self.connections: list[_Connection] = []
        self.errors: list[Exception] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, kind: object, _: object, __: object) -> None:
        await stop(self._server)
        for connection in self.connections:
            connection.task.cancel()
            if not connection.closed.is_set():
                connection.transport.abort()
            await connection.closed.wait()
        await asyncio.gather(*(connection.task for connection in self.connections), return_exceptions=True)
        await self._server.wait_closed()
        if self.errors and kind is None:
            raise self.errors[0]

    def take(self, request: Received) -> Script:
        """Record a request and choose its script."""
        self.requests.append(request)
        if not isinstance(self._script, Sequence):
            return self._script
        assert len(self.requests) <= len(self._script), f"only {len(self._script)} requests were scripted"
        return self._script[len(self.requests) - 1]

    async def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        """Wait for a condition of the host or of anything else; TimeoutError when it does not come."""
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.001)


def answers(status: int = 200, body: Any = None, headers: Mapping[str, str] = {}) -> Script:
    """Answer at once with bytes as they are, or with anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(_: Received, out: Out) -> None:
        fixed = {"content-type": "application/json", "content-length": str(len(data))}
        await out.head(status, {**fixed, **headers}, chunked=False)
        await out.send(data)
        await out.end()

    return script


def streams(
    events: Sequence[Json | bytes | str], done: bool = True, pause: Callable[[], Awaitable[object]] | None = None
) -> Script:
    """Stream events, each in its own chunk: JSON or text as `data:`, bytes as they are; then `[DONE]`.

    `pause` (`event.wait`, `semaphore.acquire`) is awaited before every event but the first.
    """

    async def script(_: Received, out: Out) -> None:
        await out.head(200, {"content-type": "text/event-stream"})
        for index, event in enumerate([*events, "[DONE]"] if done else events):
            if pause and index:
                await pause()
            text = json.dumps(event) if isinstance(event, dict) else event
            await out.send(text if isinstance(text, bytes) else f"data: {text}\n\n".encode())
        await out.end()

    return script


def usage(prompt: int = 10, completion: int = 5, cached: int = 0, reasoning: int = 0) -> Json:
    totals = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    cache, thought = {"cached_tokens": cached}, {"reasoning_tokens": reasoning}
    return totals | {"prompt_tokens_details": cache, "completion_tokens_details": thought}


def completion(content: str, *, reasoning: str = "", finish: str = "stop", used: Json | None = None) -> Json:
    """A whole chat completion in the OpenAI shape; `used` is its usage."""
    message = {"role": "assistant", "content": content} | ({"reasoning_content": reasoning} if reasoning else {})
    return _envelope("chat.completion", {"message": message, "finish_reason": finish}) | {"usage": used or usage()}


def chunks(content: str, *, reasoning: str = "", finish: str = "stop", used: Json | None = None) -> list[Json]:
    """The same as a stream: role, one chunk a word, finish, and the usage in a chunk without choices."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": word} for word in reasoning.split(" ") if word]
    deltas += [{"content": word if index == 0 else " " + word} for index, word in enumerate(content.split(" "))]
    kind = "chat.completion.chunk"
    events = [_envelope(kind, {"delta": delta, "finish_reason": None}) for delta in deltas]
    end = _envelope(kind, {"delta": {}, "finish_reason": finish})
    return [*events, end, _envelope(kind) | {"usage": used or usage()}]


def _envelope(kind: str, *choices: Json) -> Json:
    listed = [{"index": 0, **choice} for choice in choices]
    return {"id": "chatcmpl-scripted", "object": kind, "created": 1_700_000_000, "model": MODEL, "choices": listed}
