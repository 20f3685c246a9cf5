"""The response to one client, as it is written to the sink: its head once, then bytes, then a clean end or an error."""

from collections.abc import Callable, Mapping
from time import time
from typing import Any

import orjson

from gateway.errors import ClientError
from gateway.keys.limit_headers import limit_headers
from gateway.keys.limit_reservation import LimitReservation
from gateway.proxy.answer_recorder import AnswerRecorder, Hidden
from gateway.route.explanation import summary
from gateway.route.plan import Plan
from gateway.surface import answer
from gateway.surface.openrouter import errors as openrouter
from gateway.types import CacheResult, Endpoint, Request, gives_less
from gateway.types.sink import Headers, Sink
from gateway.upstream.stream import NOTHING


class Reply:
    """What the client of an exchange has got so far, and the only writer to its sink.

    `started` says whether the head has left: with a stream, or with white space before a whole answer. `paused` says
    whether the client is slower than the host. `attempts` counts those so far; `endpoint` is None until the commit. The
    recorder, if there is one, gets what the client gets, and what was hidden from it.
    """

    __slots__ = (
        "_cache",
        "_recorder",
        "_request",
        "attempts",
        "endpoint",
        "paused",
        "plan",
        "reservation",
        "sink",
        "started",
    )

    def __init__(
        self, request: Request, sink: Sink, plan: Plan, cache: CacheResult, recorder: AnswerRecorder | None
    ) -> None:
        self._request = request
        self.plan = plan
        self._cache = cache
        self._recorder = recorder
        self.sink = sink
        self.attempts = 0
        self.endpoint: Endpoint | None = None
        self.started = request.begun
        self.paused = False
        self.reservation: LimitReservation | None = None  # of the request's limits, which the headers show

    def keep_alive(self) -> None:
        if not self.started:
            self._start()
        self.sink.write(answer.WAITING[self._request.surface] if self._request.stream else answer.PADDING)

    @property
    def endpoint_id(self) -> str:
        """Empty until the commit."""
        return "" if self.endpoint is None else self.endpoint.id

    def commit(self, endpoint: Endpoint) -> Callable[[bytes], None]:
        """The answer is this endpoint's. Returns what takes its bytes. The head of a whole one leaves at its end."""
        continued, self.endpoint = self.endpoint is not None, endpoint
        if not self._request.stream:
            return self.sink.write
        if self.started:  # the headers left long ago: who answers goes in-band
            self.sink.write(answer.comment(endpoint.id, self.attempts, continued))
        else:
            self._start()
        return self.sink.write if self._recorder is None else self._recorder.tee(self.sink.write)

    def finish(self, tail: bytes, hidden: Hidden) -> None:
        """The stream has ended well."""
        self.sink.write(tail)
        self.sink.end()
        if self._recorder is not None:
            self._recorder.stream(tail, self.endpoint_id, hidden)

    def whole(self, payload: dict[str, Any], hidden: Hidden) -> None:
        shown = {**payload, **self.routing()} if self._request.tells_routing else payload
        if self.started:
            self._end_with(shown)
        else:
            answer.send_json(self.sink, 200, shown, self._about())
        if self._recorder is not None:
            self._recorder.whole(payload, self.endpoint_id, hidden)

    def routing(self) -> Mapping[str, Any]:
        """`openrouter_metadata`: how the request was routed, if the client requests it."""
        if not self._request.tells_routing:
            return NOTHING
        return {"openrouter_metadata": openrouter.routing(self._request, self.plan, self.endpoint_id, self.attempts)}

    def fail(self, error: ClientError, head: Mapping[str, Any] = NOTHING) -> None:
        """An error: as a response, or as an event once a stream has begun, with the `head` of its chunks. Another model
        may answer instead, where no host has."""
        if self._recorder is not None:
            self._recorder.failed(error, head)
        if self.endpoint is None and not error.final and self.sink.moves_on():
            return
        if self.started and self._request.stream:
            self.sink.write(answer.error_event(self._request, error, self.plan, self.endpoint_id, head))
            self.sink.end()
            return
        body = answer.error_body(error, self._request.surface, self._request, self.plan)
        if self.started:
            self._end_with(body)
        else:
            answer.send_error(self.sink, error, self._about(), body)

    def abandon(self) -> None:
        """The client has left."""
        if self._recorder is not None:
            self._recorder.failed(None, NOTHING)

    def _start(self) -> None:
        self.started = True
        about = self._about()
        self.sink.start(200, answer.stream_head(about) if self._request.stream else [answer.JSON, *about])

    def _end_with(self, payload: dict[str, Any]) -> None:
        """Ends a response whose head was sent with white space: by a whole answer, or an error in its place."""
        self.sink.write(orjson.dumps(payload))
        self.sink.end()

    def _about(self) -> Headers:
        request, endpoint = self._request, self.endpoint
        head = answer.about(request, self._cache, self.attempts, "" if endpoint is None else endpoint.id)
        if endpoint is not None and gives_less(endpoint, request):
            head.append((b"x-gateway-max-tokens", b"%d" % (endpoint.max_output or 0)))
        if self.reservation is not None:
            head += limit_headers(self.reservation.limits, time())
        if request.explain:
            head.append((b"x-gateway-plan", summary(self.plan)))
        return head
