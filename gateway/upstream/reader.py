"""Reads one host's answer: the head, errors, how the connection ended; and a whole answer, one JSON document.

    Call ── on_response, on_data*, on_complete | on_lost ──> Reader ── on_finished | on_failed ──> Listener

A streamed answer has more to it: `stream.py`.
"""

from dataclasses import replace
from typing import Any, Protocol

import orjson

from gateway.document.nesting import DEEPEST, is_deeper
from gateway.types import Failure, Fault, RepairKind, Usage
from gateway.upstream.mending import Mender
from gateway.upstream.shape import OPENAI, Shape, is_sound, says_something
from gateway.upstream.toolcalls import ToolCalls
from gateway.upstream.usage import read_usage
from gateway.upstream.verdict import finish, in_band, judge, shown
from gateway.upstream.waiting import in_headers

LARGEST_ERROR = 64 * 1024
MOST_NOISE = 1024 * 1024  # bytes in a row that bring an answer no further: white space, comments, empty events
LARGEST_ANSWER = 64 * 1024 * 1024
LONGEST_REASON = 64  # characters shown of a finish reason

Headers = list[tuple[bytes, bytes]]


class Listener(Protocol):
    """Who wants to know. Each attempt ends in exactly one `on_finished` or `on_failed`."""

    @property
    def may_be_empty(self) -> bool:
        """Whether an answer without content is one."""

    def on_first_token(self) -> None: ...
    def on_chunk(self, data: bytes) -> None:
        """Whole events for the client, with something of the answer in them."""

    def on_comment(self, data: bytes) -> None:
        """Whole events for the client that bring the answer no further."""

    def on_finished(self) -> None: ...
    def on_failed(self, failure: Failure) -> None: ...


class Reader:
    """What both kinds of answer share: the head, errors, and how the connection ended."""

    __slots__ = (
        "_body",
        "_headers",
        "_listener",
        "_mender",
        "_noise",
        "_now",
        "_over",
        "_shape",
        "_size",
        "calls",
        "empty",
        "finish_reason",
        "status",
        "usage",
    )

    def __init__(
        self,
        listener: Listener,
        now: float,
        shape: Shape = OPENAI,
        calls: ToolCalls | None = None,
        mender: Mender | None = None,
    ) -> None:
        """`now` in unix time; `shape` is the clients'; `calls` takes the host's tool calls as they came, where somebody
        wants to know, before the `mender` mends them."""
        self._shape = shape
        self.calls = calls
        self._mender = mender
        self._listener = listener
        self._now = now  # unix time, for Retry-After as a date
        self._over = False
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._size = 0  # of the body
        self._noise = (0, 0)  # bytes of it that are nothing, since so many events
        self.empty = False  # whether the answer has no content
        self.status = 0
        self.usage = Usage()
        self.finish_reason = ""

    @property
    def finished(self) -> bool:
        """Whether everything but usage and `[DONE]` has come."""
        return False

    @property
    def repairs(self) -> tuple[RepairKind, ...]:
        """What was mended in the answer, each kind once."""
        return () if self._mender is None else self._mender.repairs.kinds

    def on_response(self, status: int, headers: Headers) -> None:
        self.status = status
        self._headers = headers

    def on_data(self, data: bytes) -> None:
        if self._over:
            return
        if self.status == 200:
            self._take(data)
        elif self._size < LARGEST_ERROR:
            self._size += len(data)
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

    def _hears_noise(self, size: int, events: int) -> bool:
        """So many bytes came that are nothing, after so many events that were something. False and a failure when it is
        too much: a host that floods is none that answers."""
        noise, since = self._noise
        noise = noise + size if since == events else size
        self._noise = noise, events
        if noise > MOST_NOISE:
            self._fail(Failure("garbage", f"the host sent over {MOST_NOISE} bytes without content"))
        return not self._over

    def _fail(self, failure: Failure) -> None:
        if failure.status == 200 and failure.retry_after is None:  # an error inside
            wait = in_headers(self._headers, self._now, failure.fault == "rate_limited")
            failure = replace(failure, retry_after=wait)
        self._over = True
        self._let_go().on_failed(failure)

    def _finish(self) -> None:
        self._over = True
        self._let_go().on_finished()

    def _let_go(self) -> Listener:
        """The listener, which holds this reader: kept here any longer, both would wait for the garbage collector."""
        listener = self._listener
        del self._listener
        self._body.clear()
        return listener

    def _clean(self, reason: object) -> str | None:
        """A finish reason by its canonical name; None and a failure when it is no end."""
        clean = finish(reason)
        if clean is None:
            said = shown(str(reason))[:LONGEST_REASON]
            self._fail(Failure("unclean", f"the host ended with finish_reason {said!r}", code=said))
        return clean


class WholeReader(Reader):
    """An answer that is not streamed: one JSON document, perhaps after blank keep-alive lines."""

    __slots__ = ("completion",)

    def __init__(
        self,
        listener: Listener,
        now: float,
        shape: Shape = OPENAI,
        calls: ToolCalls | None = None,
        mender: Mender | None = None,
    ) -> None:
        super().__init__(listener, now, shape, calls, mender)
        self.completion: dict[str, Any] = {}

    def estimated_output(self) -> int:
        return self._size // 4 if self.completion else 0

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > LARGEST_ANSWER:
            self._fail(Failure("garbage", f"an answer of more than {LARGEST_ANSWER} bytes"))
        elif self._body or not data.isspace():
            self._body.append(data)
        else:
            self._hears_noise(len(data), 0)

    def _ended(self) -> None:
        payload = parsed(b"".join(self._body))
        if payload is None:
            self._fail(Failure("garbage", "the host's answer is not a JSON object"))
        elif failure := in_band(payload):
            self._fail(failure)
        elif not is_sound(payload, "message"):
            self._fail(Failure("garbage", "the host's answer has choices that are not a completion's"))
        else:
            self._accept(payload)
            if not self._over:
                self._finish()

    def _accept(self, payload: dict[str, Any]) -> None:
        """Makes it the answer, or fails."""
        choices = payload.get("choices")
        if not choices:
            self._fail(Failure("unclean", "the host's answer has no choices"))
            return
        if self.calls is not None:
            self.calls.take(payload, "message")
        if self._mender is not None:
            self._mender.whole(payload)
        for choice in choices:
            reason = self._clean(choice.get("finish_reason"))
            if reason is None:
                return
            self._shape.end(choice, reason)
            self.finish_reason = reason
        self.empty = self.finish_reason == "stop" and not any(says_something(one.get("message")) for one in choices)
        if self.empty and not self._listener.may_be_empty:
            self._fail(Failure("empty", "the host's answer is empty"))
            return
        self.completion = payload
        self.usage = read_usage(payload.get("usage"))


def parsed(data: bytes) -> dict[str, Any] | None:
    """A JSON object, or None when it is none, or one that could not be written again."""
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(payload, dict):
        return None
    nests = data.count(b"[") + data.count(b"{") > DEEPEST  # counting is quick, and mostly enough
    return None if nests and is_deeper((payload,)) else payload
