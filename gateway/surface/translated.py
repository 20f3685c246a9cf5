"""A sink in front of a sink: what the proxy says as chat completions reaches the client in another API's words.

    proxy ── chat completion, its chunks, errors ──> TranslatedSink ── Translation ──> the client's API ──> sink

The proxy below knows one surface only, and failover, hedging, ledger and limits are the same for all of them. Each
event of a stream is parsed once here, and nothing of it is kept.
"""

from typing import Any, Protocol

import orjson

from gateway.errors import UpstreamError
from gateway.surface.answer import streamed_error
from gateway.types import Fault
from gateway.types.sink import Headers, Sink, Source
from gateway.upstream import sse

_STREAM = b"text/event-stream"
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)  # by a payload that no translation has a place for


class Translation(Protocol):
    """One answer in another API's words. Payloads are OpenAI's chat completion, chunk and error objects.

    `whole` and `chunk` may raise ValueError, and what Python raises by itself, for a payload that they cannot read.
    """

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """A whole answer."""

    def error(self, status: int, error: dict[str, Any]) -> dict[str, Any]:
        """A whole answer that is an error, `{"error": {...}}`."""

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """The events of one chunk; of a chunk with `error`, the events that end the stream loudly."""

    def waiting(self) -> bytes:
        """Something that keeps the connection open, for a comment."""

    def done(self) -> bytes:
        """The events of a good end."""


class TranslatedSink:
    """One response to one client."""

    __slots__ = ("_broken", "_head", "_padded", "_parts", "_sink", "_splitter", "_translation")

    def __init__(self, sink: Sink, translation: Translation) -> None:
        self._sink = sink
        self._translation = translation
        self._head: tuple[int, Headers] | None = None  # of a whole answer, which is translated at its end
        self._parts: list[bytes] = []
        self._splitter = sse.Splitter()
        self._padded = False  # whether the head of a whole answer has left, and white space
        self._broken = False  # whether the client was told that its stream cannot be read: nothing may follow

    def start(self, status: int, headers: Headers) -> None:
        if any(name == b"content-type" and value.startswith(_STREAM) for name, value in headers):
            self._sink.start(status, headers)
        else:
            self._head = (status, headers)

    def write(self, data: bytes) -> None:
        if self._head is not None:
            self._take(data, *self._head)
            return
        if not self._broken and (out := self._events(data)):
            self._sink.write(out)

    def end(self) -> None:
        if self._head is not None:
            self._send_whole(*self._head)
        self._sink.end()

    def abort(self) -> None:
        self._sink.abort()

    def moves_on(self) -> bool:
        return self._sink.moves_on()

    def attach(self, source: Source) -> None:
        self._sink.attach(source)

    def _take(self, data: bytes, status: int, headers: Headers) -> None:
        """A piece of a whole answer. White space before it tells the client to wait, and goes on at once."""
        if self._parts or not data.isspace():
            self._parts.append(data)
            return
        if not self._padded:
            self._sink.start(status, headers)
            self._padded = True
        self._sink.write(data)

    def _events(self, data: bytes) -> bytes:
        try:
            block = self._splitter.feed(data)
            return b"".join([self._event(payload) for payload in sse.events(block)])
        except _UNREADABLE as error:
            self._broken = True
            return self._translation.chunk(_unreadable(error))

    def _event(self, data: bytes) -> bytes:
        if not data:
            return self._translation.waiting()
        return self._translation.done() if data == sse.DONE else self._translation.chunk(orjson.loads(data))

    def _send_whole(self, status: int, headers: Headers) -> None:
        said = orjson.loads(b"".join(self._parts))
        try:
            told = self._translation.error(status, said) if said.get("error") else self._translation.whole(said)
        except _UNREADABLE as error:
            status = UpstreamError.status
            told = self._translation.error(status, _unreadable(error))
        body = orjson.dumps(told)
        if self._padded:
            self._sink.write(body)
            return
        kept = [header for header in headers if header[0] != b"content-length"]
        self._sink.start(status, [*kept, (b"content-length", b"%d" % len(body))])
        self._sink.write(body)


def _unreadable(error: Exception) -> dict[str, Any]:
    """An error for an answer, or a chunk of one, that is no chat completion's."""
    return streamed_error(UpstreamError(f"the host's answer cannot be read: {error}", code=Fault.GARBAGE))
