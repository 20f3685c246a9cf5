"""Reads an answer for a client that did not request a stream: one JSON document, or a stream that is assembled.

document ─────────────────────┐
chunk, chunk, ... ──Assembly──┴──> calls are checked, then repaired ──> finish reasons ──> `completion`
"""

from typing import Any

from gateway.document.assembly import UNREADABLE, Assembly
from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import ToolCallRepair
from gateway.types import REASONING_FIELDS, Failure, Fault
from gateway.upstream.answer_types import PlainAnswer
from gateway.upstream.reader import LARGEST_ANSWER, Listener, Reader
from gateway.upstream.shape import OPENAI, Shape, has_content
from gateway.upstream.usage import usage_of

_NO_TEXT = (*REASONING_FIELDS, "refusal")  # removed from a message where empty


class WholeReader(Reader):
    """Sets `completion`, in the shape of a chat completion, at the answer's end; it is empty until then."""

    __slots__ = ("_assembly", "_begun", "_choices", "_ended_choices", "completion")

    def __init__(
        self,
        listener: Listener,
        now: float,
        shape: Shape = OPENAI,
        calls: ToolCallCheck | None = None,
        mender: ToolCallRepair | None = None,
        choices: int = 1,
    ) -> None:
        """As `Reader`'s; `choices` is the request's `n`."""
        super().__init__(listener, now, shape, calls, mender)
        self._choices = choices
        self._begun = False  # whether the first token has arrived
        self._assembly: Assembly | None = None  # of a stream
        self._ended_choices: set[int] = set()
        self.completion: dict[str, Any] = {}

    def _chunk(self, payload: dict[str, Any], deltas: int) -> None:
        if self._size > LARGEST_ANSWER:
            self._fail(Failure(Fault.GARBAGE, f"an answer of more than {LARGEST_ANSWER} bytes"))
            return
        ended = [choice for choice in payload["choices"] if choice["finish_reason"]]
        if any(self._clean(choice["finish_reason"]) is None for choice in ended):
            return
        if self._assembly is None:
            self._assembly = Assembly()
        try:
            self._assembly.take(payload)
        except UNREADABLE:
            self._fail(Failure(Fault.GARBAGE, "the host's stream cannot be assembled"))
            return
        self._ended_choices |= {choice["index"] for choice in ended}

    def _done(self) -> None:
        if self._assembly is not None and self._ended_choices and not self.completion:
            self._accept(whole_of(self._assembly))
        if not self._over:
            super()._stopped()

    def _stopped(self) -> None:
        self._done()

    def _document(self, payload: dict[str, Any]) -> None:
        plain = self._normaliser.plain
        if plain is not None and self.calls is None and self._mender is None and _has_text(plain):
            self._accept_plain(payload, plain)
        else:
            self._count(payload.get("usage"))
            self._accept(payload)
        if not self._over:
            self._finish()

    def _accept_plain(self, payload: dict[str, Any], plain: PlainAnswer) -> None:
        """Accepts a text where the request has no tools: the usual answer, of which everything is known already."""
        if plain.usage is not None:
            self._counted = usage_of(plain.usage)
        reason = self.finish_reason = plain.choices[0].finish_reason
        self._shape.end(payload["choices"][0], reason)
        self.completion, self.finished = payload, True
        self.answer_size = self._size

    def _accept(self, payload: dict[str, Any]) -> None:
        """Accepts the answer, or fails."""
        choices = payload["choices"]
        if not choices:
            self._fail(Failure(Fault.UNCLEAN, "the host's answer has no choices"))
            return
        if self.calls is not None:
            self.calls.take(payload, "message")
        if self._mender is not None:
            self._mender.whole(payload)
        for choice in choices:
            reason = self._clean(choice["finish_reason"])
            if reason is None:
                return
            self._shape.end(choice, reason)
            self.finish_reason = reason
        if self.finish_reason == "stop" and not has_content(choices[0]["message"]):
            self.empty = not any(has_content(choice["message"]) for choice in choices)
        if self.empty and not self._listener.may_be_empty:
            self._fail(Failure(Fault.EMPTY, "the host's answer is empty"))
            return
        self.completion, self.finished = payload, True
        if self._format == "document":
            self.answer_size = self._size


def _has_text(plain: PlainAnswer) -> bool:
    message = plain.choices[0].message
    return bool(message.content or message.reasoning_content or message.refusal)


def whole_of(assembly: Assembly) -> dict[str, Any]:
    """The completion of a stream's chunks, in the form of answers that are not streamed."""
    whole = assembly.completion()
    for choice in whole["choices"]:
        message = choice["message"]
        if message.get("tool_calls") and not message["content"]:
            message["content"] = None
        for name in _NO_TEXT:
            if name in message and not message[name]:
                del message[name]
    return whole
