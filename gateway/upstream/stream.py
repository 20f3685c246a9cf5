"""Reads an answer for a client that gets a stream: when its first token comes, what may pass untouched, how it ends.

    waiting ──first token──> flowing ──a finish chunk for each choice──> finished ──[DONE] or end──> over
    (held)                    │ bytes that are provably usual (`usual`) pass as they are
                              └ every other event is parsed, cleaned (`normal`), mended, and written anew

Every event is written anew where the host's shape is not the clients'. The finish chunk is held until usage is known,
because it carries the cost. A failure may come in any phase; whether it can be hidden is for the exchange to decide.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.repair.dsml import is_suspect
from gateway.repair.mending import Mender
from gateway.repair.toolcalls import ToolCalls
from gateway.types import Failure, Fault
from gateway.types.finish_reason import finish
from gateway.upstream import sse
from gateway.upstream.normal import CHUNK
from gateway.upstream.reader import Listener, Reader
from gateway.upstream.shape import OPENAI, Shape, says_something
from gateway.upstream.usual import Guard

NOTHING: Mapping[str, Any] = {}
HEAD = ("id", "created", "model")  # what the chunks of one stream have in common

Json = dict[str, Any]


class StreamReader(Reader):
    """A streamed answer of `choices` choices (`n`), which has ended well when each of them has.

    With `rewrite`, every event is brought to the clients' shape; else bytes pass untouched where nothing must change.
    """

    __slots__ = ("_begun", "_choices", "_ended_choices", "_ends", "_first", "_guard", "_held", "_joined", "_unusual")

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
        self._guard = None if rewrite else Guard()
        self._choices = choices
        self._begun = False  # whether the first token has come
        self._held: list[Json] = []  # chunks before it
        self._ends: list[Json] = []  # finish chunks, held until usage is known
        self._ended_choices: set[int] = set()
        self._joined: list[bytes] | None = None  # what was held, while it goes out in one piece
        self._first = b""  # the client's first event, or more
        self._unusual = False  # whether the guard has looked at the one event that was read

    @property
    def finished(self) -> bool:
        return len(self._ended_choices) >= self._choices

    def head(self) -> Json:
        """What the client's chunks have in common; empty before the first one."""
        first = next(sse.payloads(self._first), NOTHING)
        return {name: first[name] for name in HEAD if name in first}

    def tail(self, usage: Json, include_usage: bool, more: Mapping[str, Any] = NOTHING) -> bytes:
        """The end of the stream for the client: finish chunks with usage (or a chunk of its own for it), and [DONE];
        `more` is added to the last chunk."""
        out = self._ends[:-1]
        last = self._ends[-1]
        if include_usage:
            out += [last, {**last, "choices": [], "usage": usage, **more}]
        else:
            out.append({**last, "usage": usage, **more})
        return b"".join(map(sse.event, (*map(orjson.dumps, out), sse.DONE)))

    def on_data(self, data: bytes) -> None:
        """The usual read, while the answer flows, is whole usual events: a short way for them."""
        if not self._begun or self._over or not data.endswith(b"\n\n") or self._splitter.partial:
            super().on_data(data)
        elif not self._passes(data):
            self._hear(self._splitter.feed(data), len(data))

    def _passes(self, block: bytes) -> bool:
        """Lets whole events pass as they are, if all of them may."""
        if self._guard is None:
            return False
        texts = self._guard.texts_in(block)
        if not texts:  # also where all of them are empty
            self._unusual = texts is None and block.find(b"\n\n") == len(block) - 2
            return False
        if not self._may_pass(block):
            return False
        self._pass(block, texts)
        return True

    def _block(self, block: bytes) -> None:
        """Lets the usual events of a block pass together, and reads the others."""
        if self._guard is None or self._unusual or b"data" not in block:
            self._unusual = False
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
        """The same for events that differ; how many chunks with choices are among them."""
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
        """Whether the answer flows, nothing is held back that must come first, and nothing comes that the mender must
        see."""
        if not self._begun or self._ends or not self._normaliser.idle:
            return False
        return self._mender is None or (self._mender.idle and not is_suspect(block))

    def _pass(self, block: bytes, texts: int) -> None:
        self._events += texts
        if texts:
            self._noise = 0
            self._listener.on_chunk(block)
        else:
            self._listener.on_comment(block)

    def _chunk(self, payload: Json, said: int) -> None:
        if self._begun:
            self.empty = self.empty and not said
            self._tell(payload, said)
            return
        for choice in _ended(payload):  # before the first token another endpoint can be asked
            reason = self._clean(choice["finish_reason"])
            if reason is None:
                return
            self.finish_reason = reason
        self._hold(payload, said)

    def _hold(self, payload: Json, said: int) -> None:
        self._held.append(payload)
        ends = [finish(choice["finish_reason"]) for choice in payload["choices"]]
        self.empty = not said and all(reason in (None, "stop") for reason in ends)
        if not self.empty or (self.finish_reason and self._listener.may_be_empty):
            self._begun = True
            self._listener.on_first_token()
            held, self._held = self._held, []
            joined: list[bytes] = []
            self._joined = joined
            for one in held:
                self._tell(one, said if one is payload else 0)
            self._joined = None
            if joined and not self._over:
                self._first = b"".join(joined)
                self._hand_over(self._first, said)

    def _tell(self, payload: Json, said: int) -> None:
        """A chunk on its way to the client; what ends is held."""
        if self.calls is not None:
            self.calls.take(payload, "delta")
        if self._mender is not None:
            self._mender.chunk(payload)
        if ended := _ended(payload):
            self._take_ends(payload, ended, said)
        else:
            self._say(payload, said)

    def _say(self, payload: Json, said: int) -> None:
        data = sse.event(orjson.dumps(self._shape.chunk(payload)))
        if self._joined is None:
            self._hand_over(data, said)
        else:
            self._joined.append(data)

    def _hand_over(self, data: bytes, said: int) -> None:
        if said:
            self._listener.on_chunk(data)
        else:
            self._listener.on_comment(data)

    def _take_ends(self, payload: Json, ended: list[Json], said: int) -> None:
        """Keeps a finish chunk, and tells at once what it says. Some hosts repeat it with the usage."""
        reasons = [self._clean(choice["finish_reason"]) for choice in ended]
        if self._over:
            return
        says = len(ended) < len(payload["choices"]) or any(says_something(choice["delta"]) for choice in ended)
        if says:
            open_choices = [{**choice, "finish_reason": None} for choice in payload["choices"]]
            self._say({**payload, "choices": open_choices}, said)
        for choice, reason in zip(ended, reasons, strict=True):
            self._end(choice, reason or "", says)
        indexes = {choice["index"] for choice in ended}
        if not indexes <= self._ended_choices:
            self._ended_choices |= indexes
            self._ends.append(self._shape.chunk({**payload, "choices": ended}))

    def _end(self, choice: Json, reason: str, is_said: bool) -> None:
        self._shape.end(choice, reason)
        self.finish_reason = reason
        if is_said:
            choice["delta"] = {}
            if "logprobs" in choice:
                choice["logprobs"] = None

    def _quiet(self) -> None:
        if self._begun and not self._ends:
            self._listener.on_comment(sse.COMMENT)

    def _done(self) -> None:
        if self._ends:
            self._finish()  # even where a choice has not ended: the host says that this is all
        else:
            self._stopped()

    def _stopped(self) -> None:
        if self.finish_reason and not self._begun:
            self._fail(Failure(Fault.EMPTY, "the host's stream ended without content"))
        else:
            super()._stopped()

    def _document(self, payload: Json) -> None:
        """A whole answer where a stream was asked for, as the one chunk of a stream."""
        if not payload["choices"]:
            self._fail(Failure(Fault.UNCLEAN, "the host's answer has no choices"))
            return
        for choice in payload["choices"]:
            choice["delta"] = said = choice.pop("message")
            if "tool_calls" in said:
                said["tool_calls"] = [{"index": number, **call} for number, call in enumerate(said["tool_calls"])]
        payload["object"] = CHUNK
        self._received(payload)
        if not self._over:
            self._done()


def _ended(payload: Json) -> list[Json]:
    return [choice for choice in payload["choices"] if choice["finish_reason"]]
