"""Bringing a host's JSON to the shape that a surface's clients read. Here is that of `/v1`: OpenAI's and DeepSeek's.

Reasoning text is `reasoning_content`; keys that strict clients refuse as null (`tool_calls`, `audio`, `usage` in
mid-stream) are absent; whole answers have a `system_fingerprint` key. Everything else stays as the host said it.
"""

from typing import Any, Protocol

from gateway.types import REASONING_FIELDS, Usage
from gateway.upstream.usage import usage_object

NOT_NULL = ("tool_calls", "audio", "annotations", "function_call", "reasoning_details")


class Shape(Protocol):
    """One surface's JSON for one answer. Payloads are a host's, sound (`is_sound`), and may be changed in place."""

    def chunk(self, payload: dict[str, Any]) -> dict[str, Any]:
        """One stream chunk."""

    def end(self, choice: dict[str, Any], reason: str) -> None:
        """Gives a choice that has ended its finish reason by the canonical name; before `chunk` or `completion`."""

    def completion(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """A whole answer with its usage and cost."""

    def usage(self, usage: Usage, cost: int) -> dict[str, Any]:
        """The `usage` object; `cost` in 1e-12 USD."""


class OpenAI:
    """The `Shape` of `/v1`; with `hides_reasoning`, without what the model thought."""

    __slots__ = ("_hides",)

    def __init__(self, *, hides_reasoning: bool = False) -> None:
        self._hides = hides_reasoning

    def chunk(self, payload: dict[str, Any]) -> dict[str, Any]:
        for choice in payload.get("choices") or ():
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._message(delta)
        for key in ("usage", "system_fingerprint"):
            if key in payload and payload[key] is None:
                del payload[key]
        return payload

    def end(self, choice: dict[str, Any], reason: str) -> None:
        choice["finish_reason"] = reason

    def completion(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        for choice in payload.get("choices") or ():
            message = choice.get("message")
            if isinstance(message, dict):
                self._message(message)
        payload.setdefault("system_fingerprint", None)
        payload["usage"] = usage
        return payload

    def usage(self, usage: Usage, cost: int) -> dict[str, Any]:
        return usage_object(usage, cost)

    def _message(self, message: dict[str, Any]) -> None:
        if self._hides:
            for key in REASONING_FIELDS:
                message.pop(key, None)
        elif "reasoning" in message:
            text = message.pop("reasoning")
            if not message.get("reasoning_content"):
                message["reasoning_content"] = text
        for key in NOT_NULL:
            if key in message and not message[key]:
                del message[key]


OPENAI = OpenAI()
OPENAI_HIDING = OpenAI(hides_reasoning=True)


def is_sound(payload: dict[str, Any], part: str) -> bool:
    """Whether a host's `choices`, where there are any, can be read: objects, each with an object or null as its `part`
    (`delta` or `message`)."""
    choices = payload.get("choices")
    if choices is None:
        return True
    if not isinstance(choices, list):
        return False
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
            return False
        said = choice.get(part)
        if said is not None and not isinstance(said, dict):
            return False
    return True


def says_something(part: dict[str, Any] | None) -> bool:
    """Whether a delta or message holds text, reasoning, a refusal or a tool call: the first token does."""
    if not part:
        return False
    if part.get("content") or part.get("reasoning_content") or part.get("tool_calls"):
        return True
    return bool(part.get("reasoning") or part.get("refusal") or part.get("function_call"))
