"""Reads a streamed answer for a client that requested a stream: detects the first token, lets unchanged bytes through,
recognises the end.

    waiting ──first token──> flowing ──a finish chunk for each choice──> finished ──[DONE] or end──> over
    (held)                    │ bytes that provably need no change (`passthrough`) pass as they are
                              └ every other event is parsed, normalised (`normaliser`), repaired, and serialised again

Every event is serialised again where the host's shape differs from the client's. The finish chunk is held until usage
is known, because it carries the cost. A failure may come in any phase; whether it can be hidden from the client is for
the exchange to decide.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_markup import is_suspect
from gateway.repair.tool_call_repair import ToolCallRepair
from gateway.types import Failure, Fault
from gateway.types.finish_reason import canonical_reason
from gateway.upstream import sse
from gateway.upstream.normaliser import CHUNK
from gateway.upstream.passthrough import Guard
from gateway.upstream.reader import Listener, Reader
from gateway.upstream.shape import OPENAI, Shape, has_content

NOTHING: Mapping[str, Any] = {}
HEAD = ("id", "created", "model")  # fields that all chunks of one stream share

Json = dict[str, Any]


class StreamReader(Reader):
    """A streamed answer of `choices` choices (`n`). It has succeeded when every choice has ended.

    With `rewrite`, every event is brought to the client's shape; else bytes pass unchanged where nothing must change.
    """

    __slots__ = ("_begun", "_choices", "_ended_choices", "_ends", "_first", "_guard", "_held", "_joined", "_rejected")

    def __init__(
        self,
        listener: Listener,
        now: float,
        *,
        rewrite: bool,
        choices: int = 1,
        shape: Shape = OPENAI,
        calls: ToolCallCheck | None = None,
        mender: ToolCallRepair | None = None,
    ) -> None:
        super().__init__(listener, now, shape, calls, mender)
        self._guard = None if rewrite else Guard()
        self._choices = choices
        self._begun = False  # whether the first token has arrived
        self._held: list[Json] = []  # chunks before it
        self._ends: list[Json] = []  # finish chunks, held until usage is known
        self._ended_choices: set[int] = set()
        self._joined: list[bytes] | None = None  # serialised chunks, while held ones are joined into one write
        self._first = b""  # what the client got first: one event or more
        self._rejected = False  # whether the guard has already rejected the one event of this read

    def head(self) -> Json:
        """The fields that all of the client's chunks share; empty before the first chunk."""
        first = next(sse.payloads(self._first), NOTHING)
        return {name: first[name] for name in HEAD if name in first}

    def tail(self, usage: Json, include_usage: bool, more: Mapping[str, Any] = NOTHING) -> bytes:
        """The end of the stream for the client: finish chunks with usage (or a separate usage chunk), and [DONE];
        `more` is added to the last chunk."""
        out = self._ends[:-1]
        last = self._ends[-1]
        if include_usage:
            out += [last, {**last, "choices": [], "usage": usage, **more}]
        else:
            out.append({**last, "usage": usage, **more})
        return b"".join(map(sse.event, (*map(orjson.dumps, out), sse.DONE)))

    def on_data(self, data: bytes) -> None:
        """The fast path: while the answer flows, most reads hold only whole events that may pass unchanged."""
        guard = self._guard
        if guard is None or not self._begun or self._ends or self._over or self._splitter.partial:
            super().on_data(data)
            return
        texts = guard.texts_in(data)
        if texts and self._normaliser.idle and (self._mender is None or _is_clear(self._mender, data)):
            self.deltas += texts
            self._noise = 0
            self._listener.on_chunk(data)
            return
        if not texts:  # also where all of them are empty
            self._rejected = texts is None and 0 < data.find(b"\n\n") == len(data) - 2
        super().on_data(data)

    def _block(self, block: bytes) -> None:
        """Passes events of a block unchanged where they may pass, and reads the others."""
        if self._guard is None or self._rejected or b"data" not in block:
            self._rejected = False
            super()._block(block)
            return
        chunks = 0
        for events, texts in self._guard.runs(block):
            if texts and self._may_pass(events):
                self._pass(events, texts)
                chunks += texts
            else:
                chunks += self._each(events, self._guard)
            if self._over:
                return
        if not chunks:
            self._quiet()

    def _each(self, block: bytes, guard: Guard) -> int:
        """The same event by event; returns the number of chunks with choices among them."""
        run: list[bytes] = []
        texts = chunks = 0
        for event in sse.split(block):
            found = guard.texts_of(event) if self._may_pass(event) else None
            if found is None:
                self._pass_run(run, texts)
                run, texts = [], 0
                chunks += self._event(event)
            else:
                run.append(event)
                texts += found
                chunks += 1
            if self._over:
                return chunks
        self._pass_run(run, texts)
        return chunks

    def _pass_run(self, run: list[bytes], texts: int) -> None:
        if run:
            self._pass(b"\n\n".join((*run, b"")), texts)

    def _may_pass(self, block: bytes) -> bool:
        """Whether the answer flows, nothing is held that must be sent first, and the mender need not see these
        events."""
        if not self._begun or self._ends or not self._normaliser.idle:
            return False
        return self._mender is None or _is_clear(self._mender, block)

    def _pass(self, block: bytes, texts: int) -> None:
        self.deltas += texts
        if texts:
            self._noise = 0
            self._listener.on_chunk(block)
        else:
            self._listener.on_comment(block)

    def _chunk(self, payload: Json, deltas: int) -> None:
        if self._begun:
            self.empty = self.empty and not deltas
            self._emit(payload, deltas)
            return
        for choice in _ended(payload):  # before the first token, another endpoint can be tried
            reason = self._clean(choice["finish_reason"])
            if reason is None:
                return
            self.finish_reason = reason
        self._hold(payload, deltas)

    def _hold(self, payload: Json, deltas: int) -> None:
        self._held.append(payload)
        ends = [canonical_reason(choice["finish_reason"]) for choice in payload["choices"]]
        self.empty = not deltas and all(reason in (None, "stop") for reason in ends)
        if not self.empty or (self.finish_reason and self._listener.may_be_empty):
            self._begun = True
            self._listener.on_first_token()
            held, self._held = self._held, []
            joined: list[bytes] = []
            self._joined = joined
            for one in held:
                self._emit(one, deltas if one is payload else 0)
            self._joined = None
            if joined and not self._over:
                self._first = b"".join(joined)
                self._hand_over(self._first, deltas)

    def _emit(self, payload: Json, deltas: int) -> None:
        """A chunk on its way to the client; finish chunks are held."""
        if self.calls is not None:
            self.calls.take(payload, "delta")
        if self._mender is not None:
            self._mender.chunk(payload)
        if ended := _ended(payload):
            self._hold_finish(payload, ended, deltas)
        else:
            self._write(payload, deltas)

    def _write(self, payload: Json, deltas: int) -> None:
        data = sse.event(orjson.dumps(self._shape.chunk(payload)))
        if self._joined is None:
            self._hand_over(data, deltas)
        else:
            self._joined.append(data)

    def _hand_over(self, data: bytes, deltas: int) -> None:
        if deltas:
            self._listener.on_chunk(data)
        else:
            self._listener.on_comment(data)

    def _hold_finish(self, payload: Json, ended: list[Json], deltas: int) -> None:
        """Holds a finish chunk, and sends its content at once. Some hosts repeat the finish chunk with the usage."""
        reasons = [self._clean(choice["finish_reason"]) for choice in ended]
        if self._over:
            return
        carries_content = len(ended) < len(payload["choices"]) or any(has_content(choice["delta"]) for choice in ended)
        if carries_content:
            open_choices = [{**choice, "finish_reason": None} for choice in payload["choices"]]
            self._write({**payload, "choices": open_choices}, deltas)
        for choice, reason in zip(ended, reasons, strict=True):
            self._finish_choice(choice, reason or "", carries_content)
        indexes = {choice["index"] for choice in ended}
        if not indexes <= self._ended_choices:
            self._ended_choices |= indexes
            self.finished = len(self._ended_choices) >= self._choices
            self._ends.append(self._shape.chunk({**payload, "choices": ended}))

    def _finish_choice(self, choice: Json, reason: str, is_sent: bool) -> None:
        self._shape.end(choice, reason)
        self.finish_reason = reason
        if is_sent:
            choice["delta"] = {}
            if "logprobs" in choice:
                choice["logprobs"] = None

    def _quiet(self) -> None:
        if self._begun and not self._ends:
            self._listener.on_comment(sse.COMMENT)

    def _done(self) -> None:
        if self._ends:
            self._finish()  # even where a choice has not ended: the host has ended the stream
        else:
            self._stopped()

    def _stopped(self) -> None:
        if self.finish_reason and not self._begun:
            self._fail(Failure(Fault.EMPTY, "the host's stream ended without content"))
        else:
            super()._stopped()

    def _document(self, payload: Json) -> None:
        """A whole answer where a stream was requested: sent as the only chunk of a stream."""
        if not payload["choices"]:
            self._fail(Failure(Fault.UNCLEAN, "the host's answer has no choices"))
            return
        for choice in payload["choices"]:
            choice["delta"] = delta = choice.pop("message")
            if "tool_calls" in delta:
                delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(delta["tool_calls"])]
        payload["object"] = CHUNK
        self._received(payload)
        if not self._over:
            self._done()


def _is_clear(mender: ToolCallRepair, block: bytes) -> bool:
    """Whether the mender need not see these events."""
    return mender.idle and not is_suspect(block)


def _ended(payload: Json) -> list[Json]:
    return [choice for choice in payload["choices"] if choice["finish_reason"]]
