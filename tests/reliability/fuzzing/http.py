"""Requests: bytes on a connection, mutated, through the gateway's protocol, its routes and all handlers.

    bytes, cut anywhere ──> HotProtocol over a transport in memory ──> handlers ──> a host that answers at once

Whatever comes, nothing is raised, each response is valid HTTP/1.1, none is a 500.
"""

import asyncio
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httptools
import uvicorn
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.app import build
from gateway.config import load
from gateway.configuration import configured
from gateway.server.protocol import HotProtocol
from gateway.state.folder import StateFolder
from gateway.telemetry.metrics import prepare_folder
from tests.reliability.fuzzing.mutated import mutated_bytes, mutated_trees
from tests.reliability.fuzzing.target import Check, Target, as_json
from tests.support.gateway import NO_STORE, write_config, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.upstream.listener import cut

STEPS = 3_000  # of the loop, until a request that is complete must be answered
HEAD = b" HTTP/1.1\r\nhost: 127.0.0.1\r\n"
SAID: dict[str, Any] = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}
RESPONSES: dict[str, Any] = {"model": "deepseek-v3.2", "input": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MORE: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [TOOL],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "provider": {"only": ["a"], "sort": "price"},
    "temperature": 0.5,
    "max_tokens": 10,
    "user": "u",
}
BODIES: dict[bytes, list[Any]] = {
    b"/v1/chat/completions": [SAID, SAID | MORE],
    b"/api/v1/chat/completions": [SAID, SAID | MORE],
    b"/v1/completions": [{"model": "deepseek-v3.2", "prompt": "Hi"}],
    b"/v1/messages": [SAID | {"max_tokens": 10, "system": "Be brief."}],
    b"/v1/responses": [RESPONSES, RESPONSES | {"tools": [{"type": "function", "name": "f"}], "stream": True}],
    b"/v1/explain": [SAID],
}
KEYS = (
    *MORE,
    *SAID,
    "input",
    "system",
    "models",
    "route",
    "prompt",
    "n",
    "stop",
    "reasoning",
    "type",
    "role",
    "thinking",
)


def request(path: bytes, body: bytes, *lines: bytes) -> bytes:
    return (
        b"POST "
        + path
        + HEAD
        + b"".join(line + b"\r\n" for line in (*lines, b"content-length: %d" % len(body), b""))
        + body
    )


def chunked(path: bytes, body: bytes) -> bytes:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    return b"POST " + path + HEAD + b"transfer-encoding: chunked\r\ntrailer: x\r\n\r\n" + pieces + b"0\r\nx: y\r\n\r\n"


PLAIN = as_json(SAID)
CORPUS = [request(path, as_json(body)) for path, bodies in BODIES.items() for body in bodies]
CORPUS += [
    chunked(b"/v1/chat/completions", PLAIN),
    request(b"/v1/chat/completions", PLAIN, b"expect: 100-continue"),
    request(b"/v1/chat/completions", PLAIN, b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c"),
    request(b"/v1/chat/completions", PLAIN, b"content-encoding: gzip"),
    request(
        b"/v1/chat/completions", PLAIN, b"x-gateway-policy: floor", b"x-gateway-cache: on", b"traceparent: 00-1-2-01"
    ),
    request(b"/v1/chat/completions", PLAIN) + b"GET /v1/models" + HEAD + b"\r\n" + request(b"/v1/messages", PLAIN),
    b"GET /health/ready" + HEAD + b"\r\n",
    b"GET /v1/models/deepseek/deepseek-v3.2" + HEAD + b"\r\n",
    b"GET /api/v1/generation?id=gen-1" + HEAD + b"\r\n",
    b"OPTIONS /v1/chat/completions" + HEAD + b"origin: http://127.0.0.1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(PLAIN) + PLAIN,
]
WORDS = [
    b"\r\n",
    b"\r\n\r\n",
    b": ",
    b"content-length: 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"host: a\r\n",
    b"\0",
    b"\t",
]
WORDS += [
    b"connection: close\r\n",
    b"HTTP/1.0",
    b"HEAD",
    b"CONNECT",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"%00",
    b"..",
    b"{",
    b'"',
]

paths = st.sampled_from(list(BODIES))
trees = paths.flatmap(
    lambda path: st.tuples(st.just(path), mutated_trees(BODIES[path], (TOOL, SAID), KEYS).map(as_json))
)
inputs = st.tuples(
    st.one_of(mutated_bytes(CORPUS, WORDS), trees.map(lambda one: request(*one))),
    st.lists(st.integers(0, 1 << 16), max_size=4),
)


class MemoryTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 9)})
        self.sent = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += data

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Statuses:
    """The statuses of the responses in some bytes; what is no HTTP raises."""

    def __init__(self, data: bytes) -> None:
        self.found: list[int] = []
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.found.append(self._parser.get_status_code())


class Gateway:
    """The app in a loop of its own, in front of a host that answers at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._errors: list[Any] = []
        self._loop.set_exception_handler(lambda _, context: self._errors.append(context))

    def open(self) -> None:
        self._loop.run_until_complete(self._open())

    def close(self) -> None:
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _open(self) -> None:
        self._host = await ScriptedHost(_answer).__aenter__()
        write_policy(self._folder / "policies", "balanced", attempts={"max": 1, "retries": 0})
        config = write_config(self._folder, {"a/fp8": self._host.url}, None, policies=str(self._folder / "policies"))
        state = StateFolder(self._folder / "state")
        prepare_folder(state.metrics)
        self._app = build(configured(load(config, {})), state.path, NO_STORE)
        self._life = self._app.router.lifespan_context(self._app)
        self._state = dict(await self._life.__aenter__() or {})
        self._config = uvicorn.Config(self._app, http=HotProtocol, ws="none", lifespan="off", log_config=None)
        self._config.load()
        self._shared = ServerState()

    async def _close(self) -> None:
        await self._life.__aexit__(None, None, None)
        await self._host.__aexit__(None, None, None)

    def check(self, given: tuple[bytes, list[int]]) -> None:
        self._loop.run_until_complete(self._check(*given))
        assert not self._errors, self._errors.pop()

    async def _check(self, data: bytes, places: list[int]) -> None:
        protocol = HotProtocol(config=self._config, server_state=self._shared, app_state=dict(self._state))
        transport = MemoryTransport()
        protocol.connection_made(transport)
        for piece in cut(data, places):
            if not transport.closed:
                protocol.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(STEPS):
            if transport.closed or not self._busy(protocol):
                break
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        for _ in range(3):
            await asyncio.sleep(0)
        if b"HEAD " not in data:  # whose response has no body, which a parser cannot know
            statuses = Statuses(bytes(transport.sent)).found
            assert 500 not in statuses, bytes(transport.sent[-600:])

    @staticmethod
    def _busy(protocol: HotProtocol) -> bool:
        """Whether a response is under way."""
        cycle = protocol.cycle
        return bool(protocol.pipeline) or (cycle is not None and not cycle.response_complete)


async def _answer(request: Received, out: Out) -> None:
    with suppress(ValueError, AttributeError):
        if json.loads(request.body).get("stream"):
            await streams(chunks("hello"))(request, out)
            return
    await answers(200, completion("hello"))(request, out)


@contextmanager
def _open() -> Iterator[Check]:
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        quiet = logging.getLogger("gateway")
        before, quiet.disabled = quiet.disabled, True
        gateway = Gateway(Path(folder))
        gateway.open()
        try:
            yield gateway.check
        finally:
            gateway.close()
            quiet.disabled = before


HTTP = Target("http", inputs, _open)
