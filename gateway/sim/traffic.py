"""Keeps a gateway busy: replays the sample trace against its public API until cancelled.

    arrival (trace) -> dress (policy, streamed?, tools?, thinking?) -> POST by one of APPS, own connection -> Summary

Each round of the trace has its own prefixes, as new conversations have; only the system prompt stays.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import orjson

from gateway.sim.sim_host import MODEL
from gateway.sim.workload import TICK, Scale, TraceRow, chat_request, spread

CONCURRENCY = 32
REQUEST_TIMEOUT = 180.0  # seconds for one request
ROUND = 1_000_000  # distance between the prefix names of two rounds; above any name in the sample
APPS: Mapping[str, int] = MappingProxyType({"Support desk": 5, "Code review": 3, "Nightly report": 2})  # with weights
POPULAR = tuple(f"Frequently asked question {number}: answer in about 40 words." for number in range(8))
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Mix:
    """The mix of requests: weights of policies by name, and shares of requests.

    `repeated` ones send one of a few popular questions and allow the response cache to answer.
    """

    policies: Mapping[str, int] = field(default_factory=lambda: {"balanced": 6, "nitro": 2, "floor": 2, "exacto": 1})
    streamed: float = 0.9
    tools: float = 0.06
    thinking: float = 0.05
    repeated: float = 0.10


@dataclass(slots=True)
class Summary:
    """The outcomes of the requests. `ok` ended cleanly; `last_failure` is the reason of the latest failure."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    cache_hits: int = 0
    in_flight: int = 0
    last_failure: str = ""


class Traffic:
    """`base_url` as for an SDK, `http://127.0.0.1:8080/v1`; plain HTTP only."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        rows: Sequence[TraceRow],
        *,
        mix: Mix | None = None,
        scale: Scale | None = None,
        seed: int = 0,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme != "http" or not url.hostname:
            raise ValueError(f"base_url {base_url!r}: expected http://HOST:PORT/v1")
        if not rows:
            raise ValueError("no rows to replay")
        self.summary = Summary()
        self._host, self._port, self._path = url.hostname, url.port or 80, url.path.rstrip("/") + "/chat/completions"
        self._key = key
        self._rows = spread(rows, seed)
        self._mix = mix or Mix()
        self._scale = scale or Scale()
        self._rng = Random(seed)
        self._slots = asyncio.Semaphore(CONCURRENCY)

    def __repr__(self) -> str:
        return f"Traffic({self._host}:{self._port}, {self.summary})"

    async def run(self) -> None:
        """Replays the rows, round after round, until cancelled. Arrivals wait while `CONCURRENCY` are in flight."""
        loop = asyncio.get_running_loop()
        length = (self._rows[-1].t + TICK) / self._scale.time
        async with asyncio.TaskGroup() as group:
            began = loop.time()
            for number in count():
                for row in self._rows:
                    await asyncio.sleep(began + row.t / self._scale.time - loop.time())
                    await self._slots.acquire()
                    group.create_task(self._exchange(*self.dress(_renamed(row, number))))
                began = max(began + length, loop.time())

    def dress(self, row: TraceRow) -> tuple[dict[str, Any], bool]:
        """The body of one request, and whether the response cache may answer it."""
        rng, mix = self._rng, self._mix
        policy = rng.choices(list(mix.policies), weights=list(mix.policies.values()))[0]
        model = f"{MODEL}:{policy}"
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if rng.random() < mix.streamed else {}
        if rng.random() < mix.repeated:
            question = {"role": "user", "content": rng.choice(POPULAR)}
            return {"model": model, "messages": [question], **streamed}, True
        body = chat_request(row, model, self._scale) | streamed
        if rng.random() < mix.tools:
            body["messages"].append({"role": "user", "content": "Use get_weather for Lisbon."})
            body["tools"] = [WEATHER]
        elif rng.random() < mix.thinking:
            body["thinking"] = {"type": "enabled"}
        return body, False

    async def _exchange(self, body: dict[str, Any], cacheable: bool) -> None:
        summary = self.summary
        summary.sent += 1
        summary.in_flight += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                head, tail = await self._post(orjson.dumps(body), cacheable)
            failure = _failure(head, tail, streamed="stream" in body)
            summary.cache_hits += b"x-gateway-cache: hit" in head.lower()
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as problem:
            failure = type(problem).__name__
        finally:
            summary.in_flight -= 1
            self._slots.release()
        summary.ok += not failure
        summary.failed += bool(failure)
        summary.last_failure = failure or summary.last_failure

    async def _post(self, body: bytes, cacheable: bool) -> tuple[bytes, bytes]:
        """Response headers and the last bytes of the body. One connection per request needs no framing."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(self._head(len(body), cacheable) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            tail: deque[bytes] = deque(maxlen=2)
            while data := await reader.read(65_536):
                tail.append(data)
            return head, b"".join(tail)
        finally:
            writer.close()

    def _head(self, length: int, cacheable: bool) -> bytes:
        lines = [
            f"POST {self._path} HTTP/1.1",
            f"host: {self._host}:{self._port}",
            "connection: close",
            f"x-title: {self._rng.choices(list(APPS), weights=list(APPS.values()))[0]}",
            "content-type: application/json",
            f"content-length: {length}",
        ]
        if self._key:
            lines.append(f"authorization: Bearer {self._key}")
        if cacheable:
            lines.append("x-gateway-cache: on")
        return "\r\n".join([*lines, "", ""]).encode()


def _renamed(row: TraceRow, number: int) -> TraceRow:
    first, *others = row.prefix_hashes or (0,)
    return replace(row, prefix_hashes=(first, *(name + number * ROUND for name in others)))


def _failure(head: bytes, tail: bytes, streamed: bool) -> str:
    """The reason why this response is not a clean answer, or nothing. Text in JSON cannot contain a bare `"error":`."""
    status = head.split(b" ", 2)[1].decode("latin-1") if head.count(b" ") >= 2 else "no status"
    if status != "200":
        return status
    if b'"error":' in tail:
        return "error in the answer"
    return "cut" if streamed and b"[DONE]" not in tail else ""
