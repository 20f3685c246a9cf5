"""Bringing a host's JSON to the shape that clients of `/v1` read: OpenAI's and DeepSeek's.

Reasoning text is `reasoning_content`; keys that strict clients refuse as null (`tool_calls`, `audio`, `usage` in
mid-stream) are absent; whole answers have a `system_fingerprint` key. Everything else stays as the host said it.
"""

from typing import Any

NOT_NULL = ("tool_calls", "audio", "annotations", "function_call", "reasoning_details")


def chunk(payload: dict[str, Any]) -> dict[str, Any]:
    """One stream chunk, changed in place."""
    for choice in payload.get("choices") or ():
        delta = choice.get("delta")
        if isinstance(delta, dict):
            _message(delta)
    for key in ("usage", "system_fingerprint"):
        if key in payload and payload[key] is None:
            del payload[key]
    return payload


def completion(payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """A whole answer with its usage and cost, changed in place."""
    for choice in payload.get("choices") or ():
        message = choice.get("message")
        if isinstance(message, dict):
            _message(message)
    payload.setdefault("system_fingerprint", None)
    payload["usage"] = usage
    return payload


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


def _message(message: dict[str, Any]) -> None:
    if "reasoning" in message:
        text = message.pop("reasoning")
        if not message.get("reasoning_content"):
            message["reasoning_content"] = text
    for key in NOT_NULL:
        if key in message and not message[key]:
            del message[key]
