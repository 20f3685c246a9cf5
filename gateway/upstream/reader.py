"""Reads one host's answer: when its first token comes, what may flow on untouched, how it ends.

    waiting --first token--> flowing --finish reason or odd event--> tail --[DONE] or end--> over

While waiting and in the tail every event is parsed; while flowing, bytes are only scanned for the few marks that
could matter. The finish chunk is held until usage is known, because it carries the cost. A failure may come in any
phase; whether it can be hidden is for the exchange to decide.
"""

from typing import Any, Protocol

import orjson

from gateway.types import Failure, Fault, Usage
from gateway.upstream import shape, sse
from gateway.upstream.usage import read_usage
from gateway.upstream.verdict import finish, in_band, judge

LARGEST_ERROR = 64 * 1024
LARGEST_ANSWER = 64 * 1024 * 1024
_MARKS = (b'"finish_reason":"', b'"finish_reason": "', b'"error"', b"data: [DONE]", b"data:[DONE]")

Headers = list[tuple[bytes, bytes]]


class Listener(Protocol):
    """Who wants to know. Each attempt ends in exactly one `on_finished` or `on_failed`."""

    def on_first_token(self) -> None: ...
    def on_chunk(self, data: bytes) -> None: ...
    def on_finished(self) -> None: ...
    def on_failed(self, failure: Failure) -> None: ...


class Reader:
    """What both kinds of answer share: the head, errors, and how the connection ended."""

    __slots__ = ("_body", "_headers", "_listener", "_now", "_over", "finish_reason", "status", "usage")

    def __init__(self, listener: Listener, now: float) -> None:
        self._listener = listener
        self._now = now  # unix time, for Retry-After as a date
        self._over = False
        self._headers: Headers = []
        self._body: list[bytes] = []
        self.status = 0
        self.usage = Usage()
        self.finish_reason = ""

    def on_response(self, status: int, headers: Headers) -> None:
        self.status = status
        self._headers = headers

    def on_data(self, data: bytes) -> None:
        if self._over:
            return
        if self.status == 200:
            self._take(data)
        elif sum(map(len, self._body)) < LARGEST_ERROR:
            self._body.append(data)

    def on_complete(self) -> None:
        if self._over:
            return
        if self.status == 200:
            self._ended()
        else:
            self._fail(judge(self.status, self._headers, b"".join(self._body), self._now))

    def on_lost(self, fault: Fault, message: str) -> None:
        if not self._over:
            self._fail(Failure(fault, message))

    def estimated_output(self) -> int:
        """Output tokens so far where the host did not count them."""
        return 0

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def _ended(self) -> None:
        raise NotImplementedError

    def _fail(self, failure: Failure) -> None:
        self._over = True
        self._body.clear()
        self._listener.on_failed(failure)

    def _finish(self) -> None:
        self._over = True
        self._listener.on_finished()

    def _clean(self, reason: str | None) -> bool:
        """Notes a finish reason; False and a failure when it is not an end."""
        clean = finish(reason)
        if clean is None:
            self._fail(Failure("unclean", f"the host ended with finish_reason {reason!r}", code=reason))
            return False
        self.finish_reason = clean
        return True


class WholeReader(Reader):
    """An answer that is not streamed: one JSON document, perhaps after blank keep-alive lines."""

    __slots__ = ("_size", "completion")

    def __init__(self, listener: Listener, now: float) -> None:
        super().__init__(listener, now)
        self._size = 0
        self.completion: dict[str, Any] = {}

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > LARGEST_ANSWER:
            self._fail(Failure("garbage", f"an answer of more than {LARGEST_ANSWER} bytes"))
        else:
            self._body.append(data)

    def _ended(self) -> None:
        payload = _parsed(b"".join(self._body))
        if payload is None:
            self._fail(Failure("garbage", "the host's answer is not a JSON object"))
        elif failure := in_band(payload):
            self._fail(failure)
        else:
            self._check(payload)

    def _check(self, payload: dict[str, Any]) -> None:
        choices = payload.get("choices")
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices) or not choices:
            self._fail(Failure("unclean", "the host's answer has no choices"))
            return
        for choice in choices:
            if not self._clean(choice.get("finish_reason")):
                return
            choice["finish_reason"] = self.finish_reason
        if self.finish_reason == "stop" and not any(shape.says_something(choice.get("message")) for choice in choices):
            self._fail(Failure("empty", "the host's answer is empty"))
            return
        self.completion = payload
        self.usage = read_usage(payload.get("usage"))
        self._finish()

    def estimated_output(self) -> int:
        return self._size // 4


class StreamReader(Reader):
    """A streamed answer. With `rewrite`, every event is brought to the clients' shape; else bytes flow untouched."""

    __slots__ = ("_ends", "_events", "_held", "_phase", "_rewrite", "_splitter")

    def __init__(self, listener: Listener, now: float, rewrite: bool) -> None:
        super().__init__(listener, now)
        self._rewrite = rewrite
        self._splitter = sse.Splitter()
        self._phase = self._waiting
        self._held: list[bytes] = []  # events before the first token
        self._ends: list[dict[str, Any]] = []  # finish chunks, held until usage is known
        self._events = 0

    def tail(self, usage: dict[str, Any], include_usage: bool) -> bytes:
        """The end of the stream for the client: finish chunks with usage (or a chunk of its own for it), and [DONE]."""
        out = [orjson.dumps(payload) for payload in self._ends[:-1]]
        last = self._ends[-1]
        last.pop("usage", None)
        if include_usage:
            extra = {key: value for key, value in last.items() if key != "choices"}
            out += [orjson.dumps(last), orjson.dumps({**extra, "choices": [], "usage": usage})]
        else:
            out.append(orjson.dumps({**last, "usage": usage}))
        return b"".join(map(sse.event, (*out, sse.DONE)))

    def estimated_output(self) -> int:
        return self._events

    def _take(self, data: bytes) -> None:
        try:
            block = self._splitter.feed(data)
        except sse.TooLong as error:
            self._fail(Failure("garbage", str(error)))
            return
        if block:
            self._phase(block)

    def _ended(self) -> None:
        if rest := self._splitter.rest():  # some hosts leave out the last blank line
            self._phase(rest + b"\n\n")
        if self._over:
            return
        if self.finish_reason:
            self._finish()
        else:
            self._fail(Failure("unclean", "the host's stream ended without a finish reason"))

    def on_lost(self, fault: Fault, message: str) -> None:
        if self.finish_reason and not self._over:
            self._finish()  # everything but usage and [DONE] had come
        else:
            super().on_lost(fault, message)

    def _waiting(self, block: bytes) -> None:
        events = list(sse.events(block))
        for index, (raw, data) in enumerate(events):
            if not data:
                continue
            payload = self._payload(data)
            if payload is None:
                return
            if _is_answer(payload):
                self._begin(b"".join(raw for raw, data in events[index:] if data))
                return
            self._held.append(raw)

    def _begin(self, block: bytes) -> None:
        """The first token is in `block`: everything flows from here."""
        self._listener.on_first_token()
        held = b"".join(self._held)
        self._held.clear()
        self._phase = self._flowing
        self._flowing(held + block)

    def _flowing(self, block: bytes) -> None:
        for mark in _MARKS:
            if mark in block:
                self._phase = self._tail
                self._tail(block)
                return
        self._events += block.count(b"\n\n")
        if self._rewrite:
            block = _rewritten(block)
        self._listener.on_chunk(block)

    def _tail(self, block: bytes) -> None:
        for raw, data in sse.events(block):
            if not data:
                continue
            payload = self._payload(data)
            if payload is None or self._over:
                return
            self._tail_event(raw, payload)
            if self._over:
                return
        if not self.finish_reason:
            self._phase = self._flowing  # a mark inside text: nothing has ended

    def _tail_event(self, raw: bytes, payload: dict[str, Any]) -> None:
        if payload.get("usage"):
            self.usage = read_usage(payload["usage"])
        reasons = [reason for choice in payload.get("choices") or () if (reason := choice.get("finish_reason"))]
        for reason in reasons:
            if not self._clean(reason):
                return
        if reasons:
            for choice in payload["choices"]:
                choice["finish_reason"] = finish(choice.get("finish_reason"))
            self._ends.append(shape.chunk(payload))
        elif payload.get("choices"):
            self._events += 1
            self._listener.on_chunk(sse.event(orjson.dumps(shape.chunk(payload))) if self._rewrite else raw)

    def _payload(self, data: bytes) -> dict[str, Any] | None:
        """The event's JSON; None when the stream is over, by [DONE] or by a failure."""
        if data == sse.DONE:
            self._done()
            return None
        payload = _parsed(data)
        if payload is None:
            self._fail(Failure("garbage", "an event of the host's stream is not a JSON object"))
            return None
        if failure := in_band(payload):
            self._fail(failure)
            return None
        return payload

    def _done(self) -> None:
        if self.finish_reason:
            self._finish()
        elif self._phase == self._waiting:
            self._fail(Failure("empty", "the host's stream ended without content"))
        else:
            self._fail(Failure("unclean", "the host's stream ended without a finish reason"))


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) else None


def _is_answer(payload: dict[str, Any]) -> bool:
    """Whether an event holds the first token, or an end that needs none (`length`, `content_filter`)."""
    for choice in payload.get("choices") or ():
        if shape.says_something(choice.get("delta")):
            return True
        reason = choice.get("finish_reason")
        if reason and finish(reason) != "stop":
            return True
    return False


def _rewritten(block: bytes) -> bytes:
    return b"".join(
        sse.event(orjson.dumps(shape.chunk(orjson.loads(data)))) if data else raw for raw, data in sse.events(block)
    )
