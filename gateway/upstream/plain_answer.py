"""A whole answer that needs no normalising: one text of an assistant, in OpenAI's shape, as most hosts send it.

The shape is checked by msgspec, field by field. A host's other fields stay as they are where they are not nested: then
the answer is not too deep to be serialised again. Its `usage` may hold anything, because clients get the gateway's own.
"""

from typing import Any, Literal

import msgspec

Json = dict[str, Any]


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["assistant"]
    content: str
    reasoning_content: str | None = None
    refusal: str | None = None


class _WholeChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The last two fields say which text or token stopped the model, where a host says so."""

    index: Literal[0]
    message: _Message
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    logprobs: None = None
    stop_reason: str | int | None = None
    matched_stop: str | int | None = None


class _WholeAnswer(msgspec.Struct, gc=False):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: tuple[_WholeChoice]
    usage: Any
    error: None = None


_REQUIRED = len(("id", "object", "created", "model", "choices", "usage"))
_NESTED = frozenset({"choices", "usage"})


def is_plain(payload: Json) -> bool:
    """Whether nothing of this answer needs a change, nor a second look."""
    try:
        msgspec.convert(payload, _WholeAnswer)
    except msgspec.ValidationError:
        return False
    if len(payload) == _REQUIRED:
        return True
    return not any(type(payload[name]) is dict or type(payload[name]) is list for name in payload.keys() - _NESTED)
