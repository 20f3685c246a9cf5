"""Replaces the model and adds fields in a client's JSON without serialising the rest of it again.

    {"messages":[...],"model":"deepseek-chat:nitro"}     from the client
    {"stream_options":{...},"messages":[...],"model":"deepseek/deepseek-v3.2"}

The model is found by its key, and accepted only where the bytes before it (or behind it) prove to be the start (or the
end) of one flat object. A string or a nested object with the same letters never does. A body where that cannot be
proved within REACH bytes of either end is not spliced.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

REACH = 512  # bytes from either end in which the model is searched
_KEY = b'"model"'
_VALUE = re.compile(rb'\s*:\s*("[^"\\]*")')


def spliced(raw: bytes, body: Mapping[str, Any], model: str | None, added: Mapping[str, Any]) -> bytes | None:
    """`raw`, which was parsed to `body`, with `model` and the fields of `added`; None where that is not safe.

    None of the keys of `added` may be in `body`.
    """
    found = _value(raw, body["model"]) if raw.startswith(b"{") and isinstance(body.get("model"), str) else None
    if found is None or model is None:
        return None
    start, end = found
    first = orjson.dumps(added)[:-1] + b"," if added else b"{"
    return b"".join((first, memoryview(raw)[1:start], _quoted(model), memoryview(raw)[end:]))


def _value(raw: bytes, model: str) -> tuple[int, int] | None:
    """Start and end of the model's value."""
    at = raw.find(_KEY, 0, REACH)
    if at < 0 or not _opens(raw[:at]):
        at = raw.rfind(_KEY, -REACH)
        if at < 0 or not _closes(raw[at:]):
            return None
    value = _VALUE.match(raw, at + len(_KEY))
    if value is None or value[1] != _quoted(model):
        return None
    return value.span(1)


def _opens(before: bytes) -> bool:
    """Whether a key of the outermost object may follow `before`."""
    return before == b"{" or _is_object(before + b'"":0}')


def _closes(rest: bytes) -> bool:
    """Whether `rest` is the end of the outermost object."""
    return _is_object(b"{" + rest)


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


@lru_cache(maxsize=1024)
def _quoted(model: str) -> bytes:
    return orjson.dumps(model)
