"""Reads a streamed answer for a client that gets it whole.

    event, event, ..., [DONE] ──> Assembly ──> one completion, read as a whole answer is     `completion`
      │ first token, progress                  as soon as each choice has ended
      └──> Listener

So the clocks of a stream hold for an answer that is not streamed. A host that answers with one JSON document is read
as well.
"""

from typing import Any

from gateway.document.assembly import UNREADABLE, Assembly
from gateway.types import REASONING_FIELDS, Failure
from gateway.upstream import sse
from gateway.upstream.mending import Mender
from gateway.upstream.reader import LARGEST_ANSWER, Listener, WholeReader, parsed
from gateway.upstream.shape import OPENAI, Shape, is_sound, says_something
from gateway.upstream.toolcalls import ToolCalls
from gateway.upstream.usage import read_usage
from gateway.upstream.verdict import in_band

_NO_TEXT = (*REASONING_FIELDS, "refusal")  # where empty, absent from a message


class AssemblingReader(WholeReader):
    """A streamed answer of `choices` choices (`n`), put together. It calls `on_first_token`, and `on_chunk` and
    `on_comment` with no bytes; what is read has the names of a `WholeReader`."""

    __slots__ = ("_assembly", "_begun", "_choices", "_ended_choices", "_events", "_splitter")

    def __init__(
        self,
        listener: Listener,
        now: float,
        shape: Shape = OPENAI,
        calls: ToolCalls | None = None,
        mender: Mender | None = None,
        *,
        choices: int = 1,
    ) -> None:
        super().__init__(listener, now, shape, calls, mender)
        self._choices = choices
        self._splitter = sse.Splitter()
        self._assembly = Assembly()
        self._begun = False  # whether the first token has come
        self._ended_choices: set[int] = set()
        self._events = 0

    @property
    def finished(self) -> bool:
        """Whether `completion` is there: only usage and `[DONE]` may still come."""
        return bool(self.completion)

    def estimated_output(self) -> int:
        return self._events or super().estimated_output()

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        try:
            block = self._splitter.feed(data)
        except sse.TooLong as error:
            self._fail(Failure("garbage", str(error)))
            return
        if self._size > LARGEST_ANSWER:
            self._fail(Failure("garbage", f"an answer of more than {LARGEST_ANSWER} bytes"))
        elif block:
            self._block(block)

    def _ended(self) -> None:
        rest = self._splitter.rest().strip()
        if rest.startswith(b"{") and not self._begun:
            self._body.append(rest)
            super()._ended()
            return
        if rest:  # some hosts leave out the last blank line
            self._block(rest + b"\n\n")
        if not self._over:
            self._done()

    def _block(self, block: bytes) -> None:
        for raw, data in sse.events(block):
            events = self._events
            if data == sse.DONE:
                self._done()
            elif data:
                self._event(data)
            elif self._begun:
                self._listener.on_comment(b"")
            if self._over or (events == self._events and not self._hears_noise(len(raw), events)):
                return

    def _event(self, data: bytes) -> None:
        payload = parsed(data)
        if payload is None:
            self._fail(Failure("garbage", "an event of the host's stream is not a JSON object"))
        elif failure := in_band(payload):
            self._fail(failure)
        elif not is_sound(payload, "delta"):
            self._fail(Failure("garbage", "an event of the host's stream has choices that are not a chunk's"))
        else:
            self._chunk(payload)

    def _chunk(self, payload: dict[str, Any]) -> None:
        used = read_usage(payload.get("usage"))
        if used.source == "host":
            self.usage = used
        if self.finished:
            return
        choices = payload.get("choices") or ()
        said = sum(says_something(choice.get("delta")) for choice in choices)
        for choice in choices:
            choice.setdefault("index", 0)
        ended = [choice for choice in choices if choice.get("finish_reason")]
        if any(self._clean(choice["finish_reason"]) is None for choice in ended):
            return
        try:
            self._assembly.take(payload)
        except UNREADABLE:
            self._fail(Failure("garbage", "the host's stream cannot be put together"))
            return
        self._progress(said)
        self._ended_choices |= {choice["index"] for choice in ended}
        if len(self._ended_choices) >= self._choices:
            self._accept(self._whole())

    def _progress(self, said: int) -> None:
        self._events += said
        if said and not self._begun:
            self._begun = True
            self._listener.on_first_token()
        if said:
            self._listener.on_chunk(b"")
        elif self._begun:
            self._listener.on_comment(b"")

    def _whole(self) -> dict[str, Any]:
        """What has come, as hosts say it where it is not streamed."""
        whole = self._assembly.completion()
        for choice in whole["choices"]:
            message = choice["message"]
            if message.get("tool_calls") and not message["content"]:
                message["content"] = None
            for name in _NO_TEXT:
                if name in message and not message[name]:
                    del message[name]
        return whole

    def _done(self) -> None:
        """The host has said all that it wants to say."""
        if self._ended_choices and not self.finished:
            self._accept(self._whole())
        if self._over:
            return
        if self.finished:
            self._finish()
        else:
            self._fail(Failure("unclean", "the host's stream ended without a finish reason"))

    def _fail(self, failure: Failure) -> None:
        if self.finished:
            self._finish()  # what went wrong came after the answer
        else:
            super()._fail(failure)
