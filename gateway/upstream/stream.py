"""Reads a streamed answer: when its first token comes, what may flow on untouched, how it ends.

    waiting --first token--> flowing <--a mark that could matter--> parsing --[DONE] or end--> over

While flowing, bytes are only scanned for the marks; in the other phases every event is parsed, as it always is where
the host's shape is not the clients'. The finish chunk is held until usage is known, because it carries the cost. A
failure may come in any phase; whether it can be hidden is for the exchange to decide.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.types import Failure
from gateway.upstream import sse
from gateway.upstream.dsml import is_suspect
from gateway.upstream.mending import Mender, has_calls
from gateway.upstream.reader import Listener, Reader, parsed
from gateway.upstream.shape import OPENAI, Shape, is_sound, says_something
from gateway.upstream.toolcalls import ToolCalls
from gateway.upstream.usage import read_usage
from gateway.upstream.verdict import finish, in_band

NOTHING: Mapping[str, Any] = {}
_MARKS = (b'"finish_reason":"', b"[DONE]", b'"error"', b'"finish_reason": "')
_DELTA = b'"delta"'  # once in a chunk of one choice; inside a JSON string its quotes would be escaped


class StreamReader(Reader):
    """A streamed answer of `choices` choices (`n`), which has ended well when each of them has.

    With `rewrite`, every event is brought to the clients' shape; else bytes flow untouched up to the finish chunk, and
    with a `mender` they do between tool calls.
    """

    __slots__ = (
        "_choices",
        "_ended_choices",
        "_ends",
        "_events",
        "_held",
        "_phase",
        "_rewrite",
        "_splitter",
    )

    def __init__(
        self,
        listener: Listener,
        now: float,
        *,
        rewrite: bool,
        choices: int = 1,
        shape: Shape = OPENAI,
        calls: ToolCalls | None = None,
        mender: Mender | None = None,
    ) -> None:
        super().__init__(listener, now, shape, calls, mender)
        self._rewrite = rewrite
        self._choices = choices
        self._splitter = sse.Splitter()
        self._phase: Callable[[StreamReader, bytes], None] = StreamReader._waiting  # unbound: no cycle
        self._held: list[bytes] = []  # events before the first token
        self._ends: list[dict[str, Any]] = []  # finish chunks, held until usage is known
        self._ended_choices: set[int] = set()
        self._events = 0

    @property
    def finished(self) -> bool:
        return len(self._ended_choices) >= self._choices

    def tail(self, usage: dict[str, Any], include_usage: bool, more: Mapping[str, Any] = NOTHING) -> bytes:
        """The end of the stream for the client: finish chunks with usage (or a chunk of its own for it), and [DONE];
        `more` is added to the last chunk."""
        out = self._ends[:-1]
        last = self._ends[-1]
        if include_usage:
            out += [last, {**last, "choices": [], "usage": usage, **more}]
        else:
            out.append({**last, "usage": usage, **more})
        return b"".join(map(sse.event, (*map(orjson.dumps, out), sse.DONE)))

    def estimated_output(self) -> int:
        return self._events

    def _fail(self, failure: Failure) -> None:
        if self.finished:
            self._finish()  # what went wrong came after the answer
        else:
            super()._fail(failure)

    def on_data(self, data: bytes) -> None:
        """The usual read, while the answer flows, is whole events without a mark: a short way for them."""
        flows = self._phase is StreamReader._flowing and not self._over and not self._splitter.partial
        if flows and data.endswith(b"\n\n") and not _is_marked(data):
            self._pass(data)
        else:
            super().on_data(data)

    def _take(self, data: bytes) -> None:
        try:
            block = self._splitter.feed(data)
        except sse.TooLong as error:
            self._fail(Failure("garbage", str(error)))
            return
        if block:
            self._phase(self, block)

    def _ended(self) -> None:
        rest = self._splitter.rest().strip()
        if rest.startswith(b"{") and self._phase is StreamReader._waiting:
            self._fail(in_band(parsed(rest) or {}) or Failure("garbage", "the host did not answer with a stream"))
        elif rest:  # some hosts leave out the last blank line
            self._phase(self, rest + b"\n\n")
        if not self._over:
            self._stopped()

    def _waiting(self, block: bytes) -> None:
        start = 0
        for raw, data in sse.events(block):
            if data:
                payload = self._payload(data)
                if payload is None or not self._may_begin(payload):
                    return
                self.empty = not _is_answer(payload)
                if not self.empty or (self.finish_reason and self._listener.may_be_empty):
                    self._begin(block[start:])
                    return
                self._held.append(raw)
            start += len(raw)
            if self._over or not self._hears_noise(len(raw), 0):
                return

    def _may_begin(self, payload: dict[str, Any]) -> bool:
        """False and a failure for an end that is none: before the first token another endpoint can be asked."""
        for choice in _ended(payload):
            reason = self._clean(choice["finish_reason"])
            if reason is None:
                return False
            self.finish_reason = reason
        return True

    def _begin(self, block: bytes) -> None:
        """`block` starts with the first token: everything flows from here."""
        self._listener.on_first_token()
        held = b"".join(self._held)
        self._held.clear()
        self._phase = StreamReader._parsing if self._rewrite else self._relaying()
        self._phase(self, held + block)

    def _relaying(self) -> "Callable[[StreamReader, bytes], None]":
        return StreamReader._flowing if self._mender is None else StreamReader._watching

    def _watching(self, block: bytes) -> None:
        """Flows as long as nothing comes that the mender must see."""
        if is_suspect(block) or has_calls(block):
            self._phase = StreamReader._parsing
            self._parsing(block)
        else:
            self._flowing(block)

    def _flowing(self, block: bytes) -> None:
        if not _is_marked(block):
            self._pass(block)
            return
        event = block.rfind(b"\n\n", 0, _first_mark(block)) + 2  # where the marked one starts
        if event > 1:
            self._pass(block[:event])
            block = block[event:]
        self._phase = StreamReader._parsing
        self._parsing(block)

    def _pass(self, block: bytes) -> None:
        if self.calls is not None:
            self.calls.scan(block)
        if deltas := block.count(_DELTA):
            self._events += deltas
            self._listener.on_chunk(block)
        else:
            self._comment(block)

    def _comment(self, block: bytes) -> None:
        if self._hears_noise(len(block), self._events):
            self._listener.on_comment(block)

    def _parsing(self, block: bytes) -> None:
        for raw, data in sse.events(block):
            payload = self._payload(data) if data else None
            if payload is not None:
                self._event(raw, payload)
            elif not data:
                self._comment(raw)
            if self._over:
                return
        if not self._ends and not self._rewrite and (self._mender is None or self._mender.idle):
            self._phase = self._relaying()  # a mark inside text: nothing has ended

    def _event(self, raw: bytes, payload: dict[str, Any]) -> None:
        used = read_usage(payload.get("usage"))
        if self.calls is not None:
            self.calls.take(payload, "delta")
        mended = self._mender is not None and self._mender.chunk(payload)
        if ended := _ended(payload):
            if mended:
                self._say_before(payload)
            self._take_ends(payload, ended)
        elif payload.get("choices") or not self._ends:
            self._events += raw.count(_DELTA)
            self._listener.on_chunk(self._shaped(payload) if self._rewrite or mended else raw)
        if self._ends and used.source == "host":  # before the end it would be a running count
            self.usage = used

    def _shaped(self, payload: dict[str, Any]) -> bytes:
        return sse.event(orjson.dumps(self._shape.chunk(payload)))

    def _say_before(self, payload: dict[str, Any]) -> None:
        """What a mended finish chunk says goes out in a chunk of its own: it is held, and some clients read its end
        only."""
        said = {**payload, "choices": [{**choice, "finish_reason": None} for choice in payload["choices"]]}
        said.pop("usage", None)
        self._listener.on_chunk(self._shaped(said))
        for choice in payload["choices"]:
            choice["delta"] = {}

    def _take_ends(self, payload: dict[str, Any], ended: list[dict[str, Any]]) -> None:
        """Keeps a finish chunk. Some hosts repeat it with the usage."""
        for choice in ended:
            reason = self._clean(choice["finish_reason"])
            if reason is None:
                return
            self._shape.end(choice, reason)
            self.finish_reason = reason
        indexes = {choice.get("index", 0) for choice in ended}
        if not indexes <= self._ended_choices:
            self._ended_choices |= indexes
            payload.pop("usage", None)
            self._ends.append(self._shape.chunk(payload))

    def _payload(self, data: bytes) -> dict[str, Any] | None:
        """The event's JSON; None when the stream is over, by [DONE] or by a failure."""
        if data == sse.DONE:
            self._done()
            return None
        payload = parsed(data)
        if payload is None:
            self._fail(Failure("garbage", "an event of the host's stream is not a JSON object"))
        elif failure := in_band(payload):
            self._fail(failure)
        elif not is_sound(payload, "delta"):
            self._fail(Failure("garbage", "an event of the host's stream has choices that are not a chunk's"))
        else:
            return payload
        return None

    def _done(self) -> None:
        if self._ends:
            self._finish()
        else:
            self._stopped()

    def _stopped(self) -> None:
        """The stream is over, perhaps before its time."""
        if self._phase is StreamReader._waiting and self.finish_reason:
            self._fail(Failure("empty", "the host's stream ended without content"))
        else:
            self._fail(Failure("unclean", "the host's stream ended without a finish reason"))


def _is_marked(block: bytes) -> bool:
    """Whether one of `_MARKS` is in it: an end or an error, or text that looks like one. Without a loop: every read
    asks."""
    return b'"finish_reason":"' in block or b"[DONE]" in block or b'"error"' in block or b'"finish_reason": "' in block


def _first_mark(block: bytes) -> int:
    return min(place for mark in _MARKS if (place := block.find(mark)) >= 0)


def _ended(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return [choice for choice in payload.get("choices") or () if choice.get("finish_reason")]


def _is_answer(payload: dict[str, Any]) -> bool:
    """Whether an event holds the first token, or an end that needs none (`length`, `content_filter`)."""
    return any(
        says_something(choice.get("delta")) or finish(choice.get("finish_reason")) not in (None, "stop")
        for choice in payload.get("choices") or ()
    )
