"""The load: connections that ask, read the answer and ask again, on bare sockets.

    Load(call, connections=16, seconds=2)       a closed loop for two seconds
    Load(call, connections=200, requests=400)   200 streams at once, each connection asks twice

The generator shares a core with the host, so it does as little as possible: payloads are made before, heads are parsed
by httptools, events are counted and not read. The first token is the first text: a role alone is none, because a
gateway may hold it back until there is text.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic_ns, perf_counter
from typing import Any

import httptools
import uvloop

from bench.mock import MODEL, STAMP, STAMPED, TOKEN

TURN = 4096  # a long prompt is a conversation of messages of this many bytes
WORDS = "Weigh the price of each host against the time it takes, and say what you would do. "
MARK = "#" * 16
OPENAI, OPENROUTER = "/v1/chat/completions", "/api/v1/chat/completions"
MANY_ERRORS = 100  # after which a run is given up
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked. `size` is the prompt's bytes; with `unique` no two prompts of a run begin alike."""

    port: int
    headers: Mapping[str, str]
    size: int = 1024
    stream: bool = False
    unique: bool = True
    model: str = MODEL
    path: str = OPENAI

    def body(self) -> bytes:
        """What is asked, with `MARK` where prompts differ."""
        text = (MARK + WORDS * (self.size // len(WORDS) + 1))[: self.size]
        parts = [text[at : at + TURN] for at in range(0, len(text), TURN)]
        said = [{"role": ("user", "assistant")[at % 2], "content": part} for at, part in enumerate(parts)]
        if said[-1]["role"] == "assistant":
            said.append({"role": "user", "content": "Go on."})
        body: dict[str, Any] = {"model": self.model, "messages": said, "temperature": 0.7, "max_tokens": 256}
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(body, separators=(",", ":")).encode()

    def payload(self) -> tuple[bytes, bytes]:
        """The request before and after the 16 characters that make it unique."""
        data = self.body()
        headers = {"host": f"127.0.0.1:{self.port}", "content-type": "application/json", "user-agent": "bench"}
        headers |= {**self.headers, "content-length": str(len(data))}
        head = f"POST {self.path} HTTP/1.1\r\n" + "".join(f"{key}: {it}\r\n" for key, it in headers.items())
        before, _, after = data.partition(MARK.encode())
        return f"{head}\r\n".encode() + before, after


@dataclass(slots=True)
class Result:
    """What was seen; times in seconds. `gaps` has each stream's longest silence after its first token, `ways` the time
    that each stamped event took from the host to the client.
    """

    wall: float = 0.0
    latencies: list[float] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    ways: list[float] = field(default_factory=list)
    events: int = 0
    errors: int = 0
    first_error: str = ""

    def summary(self) -> dict[str, Any]:
        """As one flat record; quantiles are left out where nothing was measured."""
        record: dict[str, Any] = {"ok": len(self.latencies), "errors": self.errors, "wall_s": round(self.wall, 3)}
        if self.first_error:
            record["first_error"] = self.first_error
        if self.latencies:
            record |= {"p50_s": quantile(self.latencies, 0.5), "p99_s": quantile(self.latencies, 0.99)}
            record["rate"] = len(self.latencies) / self.wall
        if self.ttfts:
            record |= {"ttft_p50_s": quantile(self.ttfts, 0.5), "ttft_p99_s": quantile(self.ttfts, 0.99)}
            record |= {"gap_p50_s": quantile(self.gaps, 0.5), "gap_p99_s": quantile(self.gaps, 0.99)}
            record |= {"gap_max_s": max(self.gaps), "events": self.events}
        return record


def quantile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Load:
    """One run, over when `seconds` have passed or `requests` were made; connections open evenly within `spread`.

    Open requests get `grace` seconds after the run's own end.
    """

    grace = 10.0

    def __init__(
        self, call: Call, connections: int, *, seconds: float, requests: int | None = None, spread: float = 0.0
    ) -> None:
        self.call = call
        self.result = Result()
        self._connections = connections
        self._seconds = seconds
        self._left = requests
        self._spread = spread
        self._before, self._after = call.payload()
        self._serial = random.getrandbits(48) << 16 if call.unique else 0
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Load {len(self._open)}/{self._connections} open, {len(self.result.latencies)} done>"

    async def run(self) -> Result:
        """Makes the run; it ends in any case `grace` after its time."""
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._active = self._connections
        self._began = perf_counter()
        self._until = self._began + self._seconds
        for at in range(self._connections):
            self._loop.call_later(self._spread * at / self._connections, self.connect)
        await asyncio.wait([self._over], timeout=self._seconds + self.grace)
        self.result.wall = perf_counter() - self._began
        unfinished = list(self._open)
        for connection in unfinished:
            connection.drop()
        if not self._over.done():
            self.fail(f"{len(unfinished)} connections had not finished", len(unfinished))
        return self.result

    def next_payload(self) -> bytes | None:
        """The next request; None when enough were made."""
        if perf_counter() >= self._until or self._left == 0 or self.result.errors > MANY_ERRORS:
            return None
        if self._left is not None:
            self._left -= 1
        return self.payload()

    def payload(self) -> bytes:
        """One more request's bytes."""
        if self.call.unique:
            self._serial += 1
        return b"%b%016x%b" % (self._before, self._serial, self._after)

    def fail(self, why: str, count: int = 1) -> None:
        self.result.errors += count
        self.result.first_error = self.result.first_error or why

    def connect(self) -> None:
        task = self._loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def opened(self, connection: "Connection") -> None:
        self._open.add(connection)
        self.free(connection)

    def free(self, connection: "Connection") -> None:
        """A connection has no request: it makes the next one, or ends."""
        payload = self.next_payload()
        if payload is None:
            connection.finish()
        else:
            connection.ask(payload, perf_counter())

    def closed(self, connection: "Connection", finished: bool) -> None:
        """A connection is gone; one that had more to ask is replaced."""
        self._open.discard(connection)
        if not finished and not self._over.done():
            self.connect()
        else:
            self._leave()

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self.call.port)
        except OSError as error:
            self.fail(f"could not connect: {error}")
            self._leave()

    def _leave(self) -> None:
        self._active -= 1
        if self._active == 0 and not self._over.done():
            self._over.set_result(None)


class Connection(asyncio.Protocol):
    """Asks, times the answer, asks again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._result = load.result
        self._busy = False
        self._finished = False
        self._tail = b""
        self._asked = self._heard = self._gap = self._ttft = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._load.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy and not self._finished:
            self._load.fail("the connection was closed before the answer's end")
        self._load.closed(self, self._finished)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._load.fail(f"no HTTP: {error}")
            self.drop()

    def ask(self, payload: bytes, since: float) -> None:
        """Makes a request, whose time counts from `since`."""
        self._busy = True
        self._tail = b""
        self._heard = self._gap = self._ttft = 0.0
        self._asked = since
        self._transport.write(payload)

    def finish(self) -> None:
        """Closes when nothing is open."""
        self._finished = True
        self._transport.close()

    def drop(self) -> None:
        """Closes at once."""
        self._finished = True
        self._transport.abort()

    def on_body(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-256:]
        if not self._load.call.stream:
            return
        self._result.events += data.count(b"data: ")
        if STAMP in data:
            arrived = monotonic_ns()
            self._result.ways += [(arrived - int(sent, 16)) / 1e9 for sent in STAMPED.findall(data)]
        now = perf_counter()
        if self._heard:
            self._gap = max(self._gap, now - self._heard)
        elif TOKEN in self._tail or TOKEN in data:
            self._ttft = now - self._asked
        else:
            return
        self._heard = now

    def on_message_complete(self) -> None:
        keep = self._parser.should_keep_alive()  # the parser forgets it with the message
        took = perf_counter() - self._asked
        self._busy = False
        status = self._parser.get_status_code()
        if status != 200:
            self._load.fail(f"status {status}: {self._tail.decode(errors='replace')}")
        elif not self._load.call.stream:
            self._result.latencies.append(took)
        elif self._tail.endswith(DONE):
            self._result.latencies.append(took)
            self._result.ttfts.append(self._ttft)
            self._result.gaps.append(self._gap)
        else:
            self._load.fail("a stream ended without [DONE]")
        if keep:
            self._load.free(self)
        else:
            self._transport.close()


def run(load: Load) -> Result:
    """The run in an event loop of its own."""
    return uvloop.run(load.run())
