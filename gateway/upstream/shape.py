"""Brings a host's JSON to the shape that a surface's clients read. This module has that of `/v1`: OpenAI's and
DeepSeek's.

    host's JSON ──> Hiding, where the client does not want reasoning ──> OpenAI | OpenRouter

Reasoning text is `reasoning_content`. Keys that strict clients reject as null (`tool_calls`, `audio`, a fingerprint,
`usage` in mid-stream) are left out; keys that they require at least as null (`refusal`, `logprobs`) are added to whole
answers, whose `model` is the gateway's name for it. Everything else stays as the host sent it.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.types import REASONING_FIELDS, Usage, reasoning_text
from gateway.upstream.usage import usage_object

NOT_NULL = frozenset({"tool_calls", "audio", "annotations", "function_call", "reasoning_details"})
MOST_HIDDEN = 1024 * 1024  # characters of hidden reasoning kept per answer
_NOTHING: Mapping[int, str] = {}


class Shape(Protocol):
    """One surface's JSON for one answer. Payloads come normalised from a host, and may be changed in place."""

    @property
    def hidden(self) -> Mapping[int, str]:
        """Reasoning that was hidden from the client, by choice index."""

    def chunk(self, payload: dict[str, Any]) -> dict[str, Any]:
        """One stream chunk."""

    def end(self, choice: dict[str, Any], reason: str) -> None:
        """Sets the finish reason, by its canonical name, of a choice that has ended; called before `chunk` or
        `completion`."""

    def completion(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """A whole answer with its usage and cost."""

    def usage(self, usage: Usage, cost: int) -> dict[str, Any]:
        """The `usage` object; `cost` in 1e-12 USD."""


class OpenAIShape:
    """The `Shape` of `/v1`. `model` is the model's name in whole answers; empty leaves the host's name."""

    __slots__ = ("_model",)
    hidden = _NOTHING

    def __init__(self, model: str = "") -> None:
        self._model = model

    def chunk(self, payload: dict[str, Any]) -> dict[str, Any]:
        for choice in payload.get("choices") or ():
            delta = choice.get("delta")
            if isinstance(delta, dict):
                _openai(delta)
            if isinstance(logprobs := choice.get("logprobs"), dict):
                logprobs.setdefault("refusal", None)
        for key in ("usage", "system_fingerprint"):
            if key in payload and payload[key] is None:
                del payload[key]
        return payload

    def end(self, choice: dict[str, Any], reason: str) -> None:
        choice["finish_reason"] = reason

    def completion(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        for choice in payload.get("choices") or ():
            message = choice.get("message")
            if type(message) is dict:
                _openai(message)
                message.setdefault("refusal", None)
            if type(logprobs := choice.setdefault("logprobs", None)) is dict:
                logprobs.setdefault("refusal", None)
        if payload.get("system_fingerprint", "") is None:
            del payload["system_fingerprint"]
        payload["model"] = self._model or payload.get("model")
        payload["usage"] = usage
        return payload

    def usage(self, usage: Usage, cost: int) -> dict[str, Any]:
        return usage_object(usage, cost)


OPENAI = OpenAIShape()


class Hiding:
    """Wraps a surface's `Shape` and removes the reasoning. It is kept: in a tool turn the model must read it again."""

    __slots__ = ("_reasoning", "_room", "_shape")

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._reasoning: dict[int, list[str]] = {}  # by choice index
        self._room = MOST_HIDDEN

    def __repr__(self) -> str:
        return f"<Hiding {self._shape!r}>"

    @property
    def hidden(self) -> Mapping[int, str]:
        return {choice: "".join(texts) for choice, texts in self._reasoning.items()}

    def chunk(self, payload: dict[str, Any]) -> dict[str, Any]:
        self._hide(payload, "delta")
        return self._shape.chunk(payload)

    def end(self, choice: dict[str, Any], reason: str) -> None:
        self._shape.end(choice, reason)

    def completion(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        self._hide(payload, "message")
        return self._shape.completion(payload, usage)

    def usage(self, usage: Usage, cost: int) -> dict[str, Any]:
        return self._shape.usage(usage, cost)

    def _hide(self, payload: dict[str, Any], part: str) -> None:
        for choice in payload.get("choices") or ():
            if message := choice.get(part):
                self._keep(choice.get("index", 0), reasoning_text(message) or "")
                for name in REASONING_FIELDS:
                    message.pop(name, None)

    def _keep(self, choice: int, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:  # partial reasoning would be of no use
            self._reasoning.clear()
        elif text:
            self._reasoning.setdefault(choice, []).append(text)


def _openai(message: dict[str, Any]) -> None:
    """Normalises a delta or a message in place."""
    if "reasoning" in message:
        text = message.pop("reasoning")
        if not message.get("reasoning_content"):
            message["reasoning_content"] = text
    if not NOT_NULL.isdisjoint(message):
        for key in message.keys() & NOT_NULL:
            if not message[key]:
                del message[key]


def has_content(part: dict[str, Any] | None) -> bool:
    """Whether a delta or message holds text, reasoning, a refusal or a tool call. The first such one is the first
    token."""
    if not part:
        return False
    if part.get("content") or part.get("reasoning_content") or part.get("tool_calls"):
        return True
    return bool(part.get("reasoning") or part.get("refusal") or part.get("function_call"))
