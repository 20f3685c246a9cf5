"""The common shape of a host's answer, as types that msgspec checks: a whole answer, and the counts of its `usage`.

A plain answer needs no normalising: one text of an assistant, in OpenAI's shape, with counts in its `usage`. A host's
other fields stay unchanged if they are not nested: then the answer is not too deep to be serialised again. The depth of
`usage` does not matter, because clients get the gateway's own.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

_MOST_TOKENS = 10**9  # a larger count is an error of the host

Json = dict[str, Any]
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOKENS)] | None


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["assistant"]
    content: str
    reasoning_content: str | None = None
    refusal: str | None = None


class _WholeChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The last two fields name the text or token that stopped the model, at hosts that report it."""

    index: Literal[0]
    message: _Message
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    logprobs: None = None
    stop_reason: str | int | None = None
    matched_stop: str | int | None = None


class _PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: _Count = None


class _CompletionDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: _Count = None


class UsageCounts(msgspec.Struct, frozen=True, gc=False):
    """The counts read from a host's `usage`."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cached_tokens: _Count = None
    prompt_cache_hit_tokens: _Count = None
    reasoning_tokens: _Count = None


class PlainAnswer(msgspec.Struct, gc=False):
    """A whole answer of which nothing needs a change, nor a second look."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: tuple[_WholeChoice]
    usage: UsageCounts | None
    error: None = None


_REQUIRED = len(("id", "object", "created", "model", "choices", "usage"))
_NESTED = frozenset({"choices", "usage"})


def plain_answer(payload: Any) -> PlainAnswer | None:
    """What is read of a plain answer; None for any other."""
    try:
        plain = msgspec.convert(payload, PlainAnswer)
    except ValueError:
        return None
    return plain if len(payload) == _REQUIRED or _is_flat(payload) else None


def _is_flat(payload: Json) -> bool:
    return not any(type(payload[name]) is dict or type(payload[name]) is list for name in payload.keys() - _NESTED)


def read_counts(usage: Mapping[str, Any]) -> UsageCounts:
    """The counts in a `usage` object; None for what is no count: text, a bool, a negative number."""
    try:
        return msgspec.convert(usage, UsageCounts)
    except ValueError:
        return _readable_counts(usage)


def _readable_counts(usage: Mapping[str, Any]) -> UsageCounts:
    found: dict[str, Any] = {}
    for name in UsageCounts.__struct_fields__:
        with suppress(ValueError):
            found[name] = getattr(msgspec.convert({name: usage.get(name)}, UsageCounts), name)
    return UsageCounts(**found)
