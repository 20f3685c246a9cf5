"""Reads one host's answer: status and headers, errors, the end of the connection, and the body of a 200.

    Call ── on_response, on_data*, on_complete | on_lost ──> Reader ── on_finished | on_failed ──> Listener
                                                               │
    a stream of events ── one by one, as chunks ───────────────┤  whichever the host sends,
    one JSON document  ── at its end ──────────────────────────┘  whichever was requested

`stream.py` (for streaming clients) and `whole_reader.py` (for the others) decide what the client gets of it.
"""

import re
from dataclasses import replace
from typing import Any, Literal, Protocol

from msgspec import structs

from gateway.repair.lenient_json import loads
from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import ToolCallRepair
from gateway.types import Failure, Fault, RepairKind, Usage
from gateway.types.finish_reason import canonical_reason
from gateway.upstream import sse
from gateway.upstream.host_error import classify, redacted
from gateway.upstream.normaliser import Normaliser
from gateway.upstream.retry_after_parser import from_headers
from gateway.upstream.shape import OPENAI, Shape, has_content
from gateway.upstream.usage import NO_USAGE, read_usage

LARGEST_ERROR = 64 * 1024
MOST_NOISE = 1024 * 1024  # bytes in a row without progress: white space, comments, empty events
LARGEST_ANSWER = 64 * 1024 * 1024
LONGEST_REASON = 64  # characters of a finish reason in messages

_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r\n"
_ANSWERS = b'"choices"'  # in a document that holds an answer, and not a page of some server
_BROKEN = (Fault.CUT, Fault.GARBAGE)
_FIELD = re.compile(rb"[\w-]{0,16}:")  # how a stream starts: a field, or a comment
_PART_OF_A_FIELD = re.compile(rb"[\w-]{0,16}")
# Text that is neither JSON nor a part of a chunk.
_FILLER = re.compile(rb"(?!.*error|(?:null|true|false)\Z)[a-z:][\w .:-]{0,64}", re.IGNORECASE)

Headers = list[tuple[bytes, bytes]]
Json = dict[str, Any]


class Listener(Protocol):
    """Is notified about one attempt, which ends in exactly one `on_finished` or `on_failed`."""

    @property
    def may_be_empty(self) -> bool:
        """Whether an answer without content is accepted."""

    def on_first_token(self) -> None: ...
    def on_chunk(self, data: bytes) -> None:
        """Whole events for the client with content."""

    def on_comment(self, data: bytes) -> None:
        """Whole events for the client without content."""

    def on_finished(self) -> None: ...
    def on_failed(self, failure: Failure) -> None: ...


class Reader:
    """The part of reading that all kinds of answer share."""

    __deletable__ = ("_listener",)  # mypyc: `del` frees this attribute, see `_release_listener`
    __slots__ = (
        "_body",
        "_counted",
        "_counted_at",
        "_format",
        "_headers",
        "_listener",
        "_mender",
        "_noise",
        "_normaliser",
        "_now",
        "_over",
        "_shape",
        "_size",
        "_splitter",
        "answer_size",
        "calls",
        "deltas",
        "empty",
        "finish_reason",
        "finished",
        "status",
    )

    def __init__(
        self,
        listener: Listener,
        now: float,
        shape: Shape = OPENAI,
        calls: ToolCallCheck | None = None,
        mender: ToolCallRepair | None = None,
    ) -> None:
        """`now`: unix time. `shape`: the client's. `calls`: collects the host's tool calls before the `mender` repairs
        them, where they are checked."""
        self._shape = shape
        self.calls = calls
        self._mender = mender
        self._normaliser = Normaliser(calls is not None or mender is not None)
        self._listener = listener
        self._now = now  # unix time, for Retry-After as a date
        self._over = False
        self._headers: Headers = []
        self._body: list[bytes] = []  # of an error, or of one JSON document
        self._size = 0  # of the part of the answer that is kept
        self._format: Literal["", "events", "document"] = ""  # empty until the first bytes decide
        self._noise = 0  # bytes in a row without progress
        self._splitter: sse.Splitter  # of a stream, from its first bytes on
        self.deltas = 0  # with content
        self.answer_size = 0  # bytes of an answer that is one document; of one that broke as far as it came
        self._counted = NO_USAGE
        self._counted_at = 0  # the value of `deltas` at that count
        self.finished = False  # whether all has arrived but usage and `[DONE]`
        self.empty = False  # whether the answer has no content
        self.status = 0
        self.finish_reason = ""

    @property
    def usage(self) -> Usage:
        """The host's latest count, plus the deltas after a running count, at its tokens per delta so far."""
        counted, later = self._counted, self.deltas - self._counted_at
        if counted.source == "none" or not later:
            return counted
        each = counted.completion / self._counted_at if self._counted_at else 1.0
        return structs.replace(counted, completion=counted.completion + round(later * each))

    @property
    def repairs(self) -> tuple[RepairKind, ...]:
        """The kinds of repair in the answer, each once."""
        kinds = () if self._mender is None else self._mender.repairs.kinds
        return (*kinds, "arguments") if self._normaliser.mended and "arguments" not in kinds else kinds

    def on_response(self, status: int, headers: Headers) -> None:
        self.status = status
        self._headers = headers

    def on_data(self, data: bytes) -> None:
        if self._over:
            return
        if self.status != 200:
            if self._size < LARGEST_ERROR:
                self._size += len(data)
                self._body.append(data)
            return
        if not self._format:
            data = self._detect_format(data)
        if self._format == "events":
            self._split(data)
        elif self._format:
            self._size += len(data)
            if self._size > LARGEST_ANSWER:
                self._fail(Failure(Fault.GARBAGE, f"an answer of more than {LARGEST_ANSWER} bytes"))
            else:
                self._body.append(data)

    def on_complete(self) -> None:
        if self._over:
            return
        if self.status != 200:
            self._fail(classify(self.status, self._headers, b"".join(self._body), self._now))
        elif self._format == "events":
            self._stream_ended()
        else:
            payload = self._normaliser.whole(b"".join(self._body))
            if isinstance(payload, Failure):
                self._fail(payload)
            else:
                self._document(payload)

    def on_lost(self, fault: Fault, message: str) -> None:
        if not self._over:
            self._fail(Failure(fault, message))

    # implemented by the readers of streams and of whole answers

    def _chunk(self, payload: Json, deltas: int) -> None:
        """One chunk of a stream, normalised, with choices and without usage; `deltas` of them have content."""
        raise NotImplementedError

    def _quiet(self) -> None:
        """An event without content arrived."""

    def _done(self) -> None:
        """The host has ended a stream by `[DONE]`."""
        raise NotImplementedError

    def _stopped(self) -> None:
        """A stream ended without `[DONE]`."""
        if self.finished:
            self._finish()
        else:
            self._fail(Failure(Fault.UNCLEAN, "the host's stream ended without a finish reason"))

    def _document(self, payload: Json) -> None:
        """A whole answer, normalised."""
        raise NotImplementedError

    # the bytes of a 200

    def _detect_format(self, data: bytes) -> bytes:
        """Detects the format from the first bytes; returns them without byte order mark and leading white space."""
        if data.startswith(b"{") and not self._body:
            self._format = "document"
            return data
        start = b"".join((*self._body, data)).lstrip(_WHITE)
        start = start.removeprefix(_BOM).lstrip(_WHITE) if start.startswith(_BOM) else start
        self._body.clear()
        if _FIELD.match(start):
            self._format = "events"
            self._splitter = sse.Splitter()
        elif _PART_OF_A_FIELD.fullmatch(start) or _BOM.startswith(start):
            self._body.append(start)
            self._count_noise(len(data))
        else:
            self._format = "document"
        return start

    def _split(self, data: bytes) -> None:
        try:
            block = self._splitter.feed(data)
        except sse.TooLong as error:
            self._fail(Failure(Fault.GARBAGE, str(error)))
            return
        if block:
            self._take_events(block, len(data))

    def _take_events(self, block: bytes, size: int) -> None:
        """Takes whole events, the last `size` bytes of which are new. A host that sends too many without content
        fails."""
        before = self.deltas
        self._block(block)
        if self.deltas != before:
            self._noise = 0
        elif not self._over:
            self._count_noise(size)

    def _count_noise(self, size: int) -> None:
        self._noise += size
        if self._noise > MOST_NOISE:
            self._fail(Failure(Fault.GARBAGE, f"the host sent over {MOST_NOISE} bytes without content"))

    def _stream_ended(self) -> None:
        if rest := self._splitter.rest().strip():  # some hosts leave out the last blank line
            self._block(rest + b"\n\n")
        if not self._over:
            self._stopped()

    def _block(self, block: bytes) -> None:
        """Takes whole events. Any number of comments counts as one."""
        chunks = 0
        for event in sse.split(block) if b"data" in block else ():
            chunks += self._event(event)
            if self._over:
                return
        if not chunks:
            self._quiet()

    def _event(self, event: bytes) -> int:
        """Takes one event; returns its number of chunks with choices. Some hosts omit the blank line between events:
        then each line is JSON of its own."""
        data = sse.data_of(event)
        if not data:
            return 0
        if sse.LF in data and loads(data)[0] is None:
            return sum([self._data(line) for line in data.split(b"\n") if not self._over])
        return self._data(data)

    def _data(self, data: bytes) -> bool:
        if not data.startswith(b"{") and self._is_not_a_chunk(data):
            return False
        payload = self._normaliser.chunk(data)
        if isinstance(payload, Failure):
            self._fail(payload)
            return False
        self._size += len(data)
        return self._received(payload)

    def _received(self, payload: Json) -> bool:
        """Takes a normalised chunk; returns whether it has choices."""
        deltas = sum([has_content(choice["delta"]) for choice in payload["choices"]])
        self.deltas += deltas
        if (usage := payload.pop("usage", None)) is not None:
            self._count(usage)
        if payload["choices"]:
            self._chunk(payload, deltas)
        return bool(payload["choices"])

    def _is_not_a_chunk(self, data: bytes) -> bool:
        if data.strip(b'"').upper() == sse.DONE:
            self._done()
            return True
        return _FILLER.fullmatch(data) is not None

    def _count(self, usage: Any) -> None:
        used = read_usage(usage)
        if used.source == "host":
            self._counted, self._counted_at = used, self.deltas

    # ends

    def _fail(self, failure: Failure) -> None:
        if self.finished:
            self._finish()  # the failure came after the answer
            return
        if failure.status == 200 and failure.retry_after is None:  # an error inside a 200
            wait = from_headers(self._headers, self._now, failure.fault is Fault.RATE_LIMITED)
            failure = replace(failure, retry_after=wait)
        if self._format == "document" and failure.fault in _BROKEN and _ANSWERS in b"".join(self._body):
            self.answer_size = self._size
        self._over = True
        self._release_listener().on_failed(failure)

    def _finish(self) -> None:
        self._over = True
        self._release_listener().on_finished()

    def _release_listener(self) -> Listener:
        """Returns and deletes the listener: it refers to this reader, and a cycle would wait for the garbage
        collector."""
        listener = self._listener
        del self._listener
        self._body.clear()
        return listener

    def _clean(self, reason: object) -> str | None:
        """A finish reason by its canonical name. For anything but a regular end: None, and the attempt fails."""
        clean = canonical_reason(reason)
        if clean is None:
            deltas = redacted(str(reason))[:LONGEST_REASON]
            self._fail(Failure(Fault.UNCLEAN, f"the host ended with finish_reason {deltas!r}", code=deltas))
        return clean
