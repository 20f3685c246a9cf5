"""One client's connection to a simulated host: HTTP/1.1 in, scripts played back at their speed.

    bytes -> httptools -> route -> Script -> headers, timed events -> next request or close

When the client disconnects, the answer stops at once. A slow reader pauses it.
"""

import asyncio
import hmac
import socket
import struct
from http import HTTPStatus
from typing import cast

import httptools

from gateway.sim.machine import Event, Machine, Script, rejection

LARGEST_BODY = 16 * 1024 * 1024
MOST_CONNECTIONS = 4096  # per process
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class SimConnection(asyncio.Protocol):
    def __init__(self, machine: Machine, peers: set["SimConnection"]) -> None:
        self._machine = machine
        self._peers = peers
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._body = bytearray()
        self._path = ""
        self._authorization = b""
        self._script: Script | None = None
        self._event: Event | None = None
        self._began = 0.0
        self._sent = 0
        self._keep_alive = True
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Connection({self._machine.host.id}, {'answering' if self._script else 'idle'})"

    def abort(self) -> None:
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        if len(self._peers) >= MOST_CONNECTIONS:
            self._transport.abort()
        self._peers.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        if self._timer:
            self._timer.cancel()
        if self._script:
            self._machine.settle(self._script, self._sent, cancelled=True)
            self._script = self._event = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._step()

    # httptools

    def on_message_begin(self) -> None:
        self._body.clear()
        self._path = ""
        self._authorization = b""

    def on_url(self, url: bytes) -> None:
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._authorization = value

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > LARGEST_BODY:
            self._transport.abort()
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._script:  # pipelining, which our clients do not use
            self._transport.abort()
        elif not self._transport.is_closing():
            self._keep_alive = self._parser.should_keep_alive()  # the parser resets it after this callback
            self._play(self._route())

    # replies

    def _route(self) -> Script:
        machine, method, path = self._machine, self._parser.get_method(), self._path.partition("?")[0]
        if path == "/_sim":
            return machine.steer(bytes(self._body)) if method == b"POST" else machine.report()
        if machine.key and not hmac.compare_digest(self._authorization, f"Bearer {machine.key}".encode()):
            return rejection(401)
        if (method, path) == (b"POST", "/v1/chat/completions"):
            return machine.chat(bytes(self._body), self._loop.time())
        if (method, path) == (b"GET", "/v1/models"):
            return machine.models()
        return rejection(404, "No such route: POST /v1/chat/completions, GET /v1/models, GET and POST /_sim")

    def _play(self, script: Script) -> None:
        if script.status == 0:
            self._transport.close()
            return
        self._script = script
        self._began = self._loop.time()
        self._sent = 0
        if script.length is None:
            self._transport.write(_head(script))
        self._event = next(script.events, None)
        self._step()

    def _step(self) -> None:
        """Sends the events whose time has come, then schedules the next one, or ends."""
        while self._script and not self._paused:
            event = self._event
            if event is None:
                self._end(self._script)
                return
            speed = self._machine.speed
            wait = self._began + event.at / speed - self._loop.time() if speed else 0.0
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._step)
                return
            self._send(self._script, event)
            self._event = next(self._script.events, None)

    def _send(self, script: Script, event: Event) -> None:
        self._sent += event.tokens
        if script.length is None:
            self._transport.write(b"%x\r\n%b\r\n" % (len(event.data), event.data))
        else:
            self._transport.write(_head(script) + event.data)

    def _end(self, script: Script) -> None:
        if script.ending == "stall":
            return
        self._machine.settle(script, self._sent, cancelled=False)
        self._script = None
        if script.length is None and script.ending == "clean":
            self._transport.write(b"0\r\n\r\n")
        if script.ending == "reset":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
            self._transport.abort()
        elif script.ending == "cut" or not self._keep_alive:
            self._transport.close()


def _head(script: Script) -> bytes:
    lines = [f"HTTP/1.1 {script.status} {_phrase(script.status)}", f"content-type: {script.kind}"]
    lines.append("transfer-encoding: chunked" if script.length is None else f"content-length: {script.length}")
    if script.retry_after is not None:
        lines.append(f"retry-after: {script.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
