"""A sink that wraps a sink: chat completions from the proxy reach the client in another API's format.

    proxy ── chat completion, its chunks, errors ──> TranslatedSink ── Translation ──> the client's API ──> sink

The proxy only produces chat completions, so failover, hedging, ledger and limits are the same for every API. Each event
of a stream is parsed once here and not kept.
"""

from typing import Any, Protocol

import orjson

from gateway.errors import UpstreamError
from gateway.surface.answer import streamed_error
from gateway.types import Fault
from gateway.types.sink import Headers, Sink, Source
from gateway.upstream import sse

_STREAM = b"text/event-stream"
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)  # raised for a payload of an unexpected shape


class Translation(Protocol):
    """Translates one answer into another API's format. Payloads are OpenAI's chat completion, chunk and error objects.

    `whole` and `chunk` may raise ValueError, TypeError, AttributeError or LookupError for a malformed payload.
    """

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """The body of a complete answer."""

    def error(self, status: int, error: dict[str, Any]) -> dict[str, Any]:
        """The body of an error response, from OpenAI's `{"error": {...}}`."""

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """The events of one chunk; for a chunk with `error`, the events that end the stream with that error."""

    def waiting(self) -> bytes:
        """A keep-alive, sent in place of a comment."""

    def done(self) -> bytes:
        """The events that end a successful stream."""


class TranslatedSink:
    """One response to one client, in the format of `Translation`."""

    __slots__ = ("_broken", "_head", "_padded", "_parts", "_sink", "_splitter", "_translation")

    def __init__(self, sink: Sink, translation: Translation) -> None:
        self._sink = sink
        self._translation = translation
        self._head: tuple[int, Headers] | None = None  # status and headers of a whole answer, translated at its end
        self._parts: list[bytes] = []
        self._splitter = sse.Splitter()
        self._padded = False  # whether a whole answer's headers and white space have been sent
        self._broken = False  # whether the stream ended with an error event: nothing may follow

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
        """Part of a whole answer. White space before it is a keep-alive and is forwarded at once."""
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
        completion = orjson.loads(b"".join(self._parts))
        try:
            payload = (
                self._translation.error(status, completion)
                if completion.get("error")
                else self._translation.whole(completion)
            )
        except _UNREADABLE as error:
            status = UpstreamError.status
            payload = self._translation.error(status, _unreadable(error))
        body = orjson.dumps(payload)
        if self._padded:
            self._sink.write(body)
            return
        kept = [header for header in headers if header[0] != b"content-length"]
        self._sink.start(status, [*kept, (b"content-length", b"%d" % len(body))])
        self._sink.write(body)


def _unreadable(error: Exception) -> dict[str, Any]:
    """The error for an answer or a chunk that is not a valid chat completion."""
    return streamed_error(UpstreamError(f"the host's answer cannot be read: {error}", code=Fault.GARBAGE))
