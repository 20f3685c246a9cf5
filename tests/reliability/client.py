"""One request of a trial on a connection of its own, and what came of it.

    Question ──ask──> connection, bytes, events ──> Answer: how it ended, and whether the text is what a host said

The connection is closed after each answer, so that the kernel gives the next one to any worker. Answers are read as
bytes: thousands of streams are read beside the gateway that is tried.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import httptools
import orjson

from tests.reliability.signed import Verdict, verdict

End = Literal[
    "done",  # the answer's own end
    "error",  # an error status, or an error event
    "cut",  # the connection was closed before the end
    "refused",  # no connection
    "left",  # the client closed the connection
    "late",  # no end within `PATIENCE`
]
PATIENCE = 180.0  # seconds


@dataclass(frozen=True, slots=True)
class Question:
    """One request. `leave` is the number of events after which the client leaves, 0 for one that stays."""

    mark: int
    model: str
    words: int = 40
    stream: bool = True
    leave: int = 0
    prompt: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def payload(self, port: int) -> bytes:
        text = f"trial-{self.mark} {self.prompt} Write about {self.words} words."
        body = {"model": self.model, "stream": self.stream, "messages": [{"role": "user", "content": text}]}
        data = orjson.dumps(body | self.fields)
        named = {"host": f"127.0.0.1:{port}", "content-type": "application/json", "connection": "close"}
        named |= {"content-length": str(len(data)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + data


@dataclass(slots=True)
class Answer:
    """What came. `port` is the client's own, by which its worker is found. Times in seconds since the request."""

    mark: int
    began: float  # monotonic clock
    port: int = 0
    status: int = 0
    end: End = "cut"
    error: str = ""
    text: Verdict = "nothing"
    exchange: str = ""
    endpoint: str = ""
    cache: str = ""
    first: float | None = None
    seconds: float = 0.0

    @property
    def damaged(self) -> bool:
        """Whether the client got text that no host said, or half an answer as a whole one."""
        return self.text == "damaged" or (self.end == "done" and self.text == "part")


class _Connection(asyncio.Protocol):
    def __init__(self, question: Question, port: int) -> None:
        self.answer = Answer(question.mark, time.monotonic())
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._question = question
        self._to = port
        self._parser = httptools.HttpResponseParser(self)
        self._rest = bytearray()
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._events = 0
        self._stopped = False  # `finish_reason` or [DONE] was read
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.answer.port = transport.get_extra_info("sockname")[1]
        transport.write(self._question.payload(self._to))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.answer.error = f"no HTTP: {error}"
            self._end("cut")

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.answer.error = self.answer.error or (type(error).__name__ if error else "closed")
            self._end("cut")

    def leave(self, end: End) -> None:
        self._end(end)
        if self._transport is not None:
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        known = {b"x-generation-id": "exchange", b"x-gateway-endpoint": "endpoint", b"x-gateway-cache": "cache"}
        if attribute := known.get(name.lower()):
            setattr(self.answer, attribute, value.decode())

    def on_headers_complete(self) -> None:
        self.answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._rest += data
        if self._question.stream and self.answer.status == 200:
            *events, rest = bytes(self._rest).split(b"\n\n")
            self._rest = bytearray(rest)
            for event in events:
                self._event(event)

    def on_message_complete(self) -> None:
        if not (self._question.stream and self.answer.status == 200):
            self._whole()
        elif not self._stopped and not self.answer.error:
            self.answer.error = "a stream without an end"
        self._end("error" if self.answer.error else "done")

    def _event(self, event: bytes) -> None:
        if event == b"data: [DONE]":
            self._stopped = True
        elif event.startswith(b"data: "):
            self._events += 1
            self._take(orjson.loads(event[6:]), "delta")
            if self._events == self._question.leave:
                self.leave("left")

    def _whole(self) -> None:
        try:
            self._take(json.loads(bytes(self._rest)), "message")
        except ValueError:
            self.answer.error = "no JSON"

    def _take(self, said: dict[str, Any], part: str) -> None:
        if error := said.get("error"):
            self.answer.error = str(error.get("code") or error.get("type"))
        for choice in said.get("choices") or ():
            message = choice.get(part) or {}
            self._content.append(message.get("content") or "")
            self._reasoning.append(message.get("reasoning_content") or message.get("reasoning") or "")
            if self.answer.first is None and (self._content[-1] or self._reasoning[-1]):
                self.answer.first = time.monotonic() - self.answer.began

    def _end(self, end: End) -> None:
        if self.over.done():
            return
        self.answer.end = end
        self.answer.seconds = time.monotonic() - self.answer.began
        self.answer.text = _both(verdict("".join(self._content)), verdict("".join(self._reasoning)), end)
        self.over.set_result(None)


def _both(content: Verdict, reasoning: Verdict, end: End) -> Verdict:
    """Of content and reasoning: reasoning must be whole before an answer is done."""
    if "damaged" in (content, reasoning) or (end == "done" and reasoning == "part"):
        return "damaged"
    return content


async def ask(question: Question, port: int) -> Answer:
    """Ask once, over a connection of its own. Never raises for what the gateway does."""
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(lambda: _Connection(question, port), "127.0.0.1", port)
    except OSError as error:
        return Answer(question.mark, time.monotonic(), end="refused", error=type(error).__name__)
    try:
        async with asyncio.timeout(PATIENCE):
            await connection.over
    except TimeoutError:
        connection.leave("late")
    finally:
        connection.leave("cut")
    return connection.answer
