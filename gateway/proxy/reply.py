"""The answer to one client, on its way into the sink: its head once, then bytes, then an end, good or loud."""

from typing import Any

from gateway.errors import ClientError
from gateway.proxy import answer
from gateway.proxy.sink import Headers, Sink
from gateway.types import CacheResult, Request


class Reply:
    """What the client of an exchange has been told so far, and who tells it.

    `started` says whether the head of a stream has left, `paused` whether the client is slower than the host.
    `attempts` are the tries so far; `endpoint` is empty until the commit, as the answer is nobody's yet.
    """

    __slots__ = ("_cache", "_request", "attempts", "endpoint", "paused", "sink", "started")

    def __init__(self, request: Request, sink: Sink, cache: CacheResult) -> None:
        self._request = request
        self._cache = cache
        self.sink = sink
        self.attempts = 0
        self.endpoint = ""
        self.started = False
        self.paused = False

    def keep_alive(self) -> None:
        if not self.started:
            self._start()
        self.sink.write(answer.KEEP_ALIVE)

    def commit(self, endpoint: str) -> None:
        """The answer is this endpoint's. A whole answer has its head when it is complete."""
        self.endpoint = endpoint
        if not self._request.stream:
            return
        if self.started:  # the headers left long ago: who answers goes in-band
            self.sink.write(answer.comment(endpoint, self.attempts))
        else:
            self._start()

    def finish(self, tail: bytes) -> None:
        """The stream has ended well."""
        self.sink.write(tail)
        self.sink.end()

    def whole(self, payload: dict[str, Any]) -> None:
        answer.send_json(self.sink, 200, payload, self._about())

    def fail(self, error: ClientError) -> None:
        """An error: as a response, or as an event once a stream has begun."""
        if self.started:
            self.sink.write(answer.error_event(self._request, error))
            self.sink.end()
        else:
            answer.send_error(self.sink, error, self._about())

    def _start(self) -> None:
        self.started = True
        self.sink.start(200, answer.stream_head(self._about()))

    def _about(self) -> Headers:
        return answer.about(self._request, self._cache, self.attempts, self.endpoint)
