"""A host that costs next to nothing: what is left in a measurement is the gateway's.

    POST /v1/chat/completions   a completion of about 1 KB, or with `"stream": true` events:
                                role, N deltas of about 240 bytes, finish, usage with `choices: []`, [DONE]
    POST /_bench                changes the behaviour: {"chunks", "ttft", "interval", "style"}, times in seconds
    GET  /_bench                counters: {"accepted", "requests", "aborted", "aborted_at"}
    anything else               what inference routers ask of a worker before they use it

Requests are not parsed, only searched. Every event goes out in a write of its own. `aborted_at` is the system's
monotonic clock when the last stream was left by its reader, which other processes can compare with theirs.
"""

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httptools
import uvloop

MODEL = "deepseek-v3.2"
CERTIFICATE = "certificate.pem"  # in the folder that TLS was given
TEXT = "A gateway reads each request once, picks a host for it and hands the answer on as it comes. " * 6
WORD = " a word, no more"
TOKEN = WORD.encode()  # in a stream's bytes: a token is there
STAMP = b"sent@"
STAMPED = re.compile(STAMP + b"([0-9a-f]{16})")  # when the host wrote an event: the system's monotonic clock, ns
UNSTAMPED = STAMP + b"0" * 16
HEAD_AND_TAIL = 4  # events of a stream beside its deltas: role, finish, usage, [DONE]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How streams are paced (seconds), and in whose style: `reasoning` needs every event rewritten for `/v1`.

    With `stamped` each delta's text says when it was sent.
    """

    chunks: int = 100
    ttft: float = 0.0
    interval: float = 0.0
    style: str = "openai"
    stamped: bool = False


class State:
    """What all connections of the host share."""

    def __init__(self) -> None:
        self.accepted = 0
        self.requests = 0
        self.aborted = 0
        self.aborted_at = 0.0
        self.behave(Behaviour())

    def behave(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        reasoning = behaviour.style == "reasoning"
        word = WORD + UNSTAMPED.decode() if behaviour.stamped else WORD
        delta = {"reasoning": word} if reasoning else {"content": word}
        usage = {"usage": None} if reasoning else {}
        self.first = STREAM_HEAD + _chunk(_event({"role": "assistant", "content": ""}, **usage))
        self.delta = _chunk(_event(delta, **usage))
        said = _chunk(_event({"content": "Done."}, **usage)) if reasoning else b""
        self.deltas = behaviour.chunks - bool(said)
        finish = _chunk(_event({}, "stop", **usage))
        last = {**_envelope("chat.completion.chunk"), "choices": [], "usage": USAGE}
        self.last = (
            said + finish + _chunk(b"data: " + _json(last) + b"\n\n") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        )

    def next_delta(self) -> bytes:
        """One more delta as it goes out."""
        if not self.behaviour.stamped:
            return self.delta
        return self.delta.replace(UNSTAMPED, b"%b%016x" % (STAMP, time.monotonic_ns()))

    def counters(self) -> bytes:
        names = ("accepted", "requests", "aborted", "aborted_at")
        return _answer({name: getattr(self, name) for name in names})


class Host(asyncio.Protocol):
    """One connection."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._timer: asyncio.Handle | None = None
        self._body: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._call_later = asyncio.get_running_loop().call_later
        self._state.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._state.aborted += 1
            self._state.aborted_at = time.monotonic()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url = url
        self._body.clear()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        if self._url == b"/_bench":
            if body:
                self._state.behave(replace(self._state.behaviour, **json.loads(body)))
            self._transport.write(self._state.counters())
        elif self._parser.get_method() == b"GET":
            self._transport.write(MODELS if self._url == b"/v1/models" else WORKER)
        else:
            self._complete(body)

    def _complete(self, body: bytes) -> None:
        self._state.requests += 1
        if b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(COMPLETION)
        elif self._state.behaviour.ttft:
            self._timer = self._call_later(self._state.behaviour.ttft, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._transport.write(self._state.first)
        self._left = self._state.deltas
        self._timer = self._call_later(self._state.behaviour.interval, self._next)

    def _next(self) -> None:
        if self._left:
            self._left -= 1
            self._transport.write(self._state.next_delta())
            self._timer = self._call_later(self._state.behaviour.interval, self._next)
        else:
            self._timer = None
            self._transport.write(self._state.last)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, made by openssl, good for a day."""
    certificate, key = folder / CERTIFICATE, folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *subject, *files], check=True, capture_output=True, timeout=30)
    return certificate, key


async def serve(tls_folder: Path | None) -> None:
    """Serves until killed; its first line says where: {"port": P, "tls_port": P or null}."""
    state, loop = State(), asyncio.get_running_loop()
    plain = await loop.create_server(lambda: Host(state), "127.0.0.1", 0, backlog=4096)
    ports = {"port": plain.sockets[0].getsockname()[1], "tls_port": None}
    if tls_folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*make_certificate(tls_folder))
        secure = await loop.create_server(lambda: Host(state), "127.0.0.1", 0, ssl=context, backlog=4096)
        ports["tls_port"] = secure.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await plain.serve_forever()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _answer(value: object) -> bytes:
    body = _json(value)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-4f1c9ab27d3e4c55a0e6", "object": kind, "created": 1_764_547_200, "model": MODEL}


def _event(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**_envelope("chat.completion.chunk"), "system_fingerprint": "fp_bench", "choices": [choice], **more}
    return b"data: " + _json(chunk) + b"\n\n"


USAGE = {
    "prompt_tokens": 256,
    "completion_tokens": 100,
    "total_tokens": 356,
    "prompt_tokens_details": {"cached_tokens": 128},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "logprobs": None, "finish_reason": "stop"}
COMPLETION = _answer({**_envelope("chat.completion"), "choices": [CHOICE], "usage": USAGE})
MODELS = _answer({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "bench"}]})
WORKER = _answer({"status": "ok", "model_path": MODEL, "served_model_name": MODEL, "model_id": MODEL, "version": "0"})
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.mock", description="A host for benchmarks.")
    parser.add_argument("--tls", type=Path, metavar="FOLDER", help="serve TLS too; the certificate is put here")
    uvloop.run(serve(parser.parse_args().tls))
