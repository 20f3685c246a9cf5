"""Replaces the model and adds fields in a client's JSON without serialising the rest of it again.

    {"messages":[...],"model":"deepseek-chat:nitro"}     from the client
    {"stream_options":{...},"messages":[...],"model":"deepseek/deepseek-v3.2"}

The model is found by its key, and accepted only where the bytes before it (or behind it) prove to be the start (or the
end) of one flat object. The same bytes inside a string or a nested object are never accepted. A body where that cannot
be proved within REACH bytes of either end is not spliced.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

REACH = 512  # bytes from either end in which the model is searched
MOST_SPACE = 16  # bytes between its key and its value: the colon, and white space
_KEY = b'"model"'


def spliced(raw: bytes, body: Mapping[str, Any], model: str | None, added: Mapping[str, Any]) -> bytes | None:
    """`raw`, which was parsed to `body`, with `model` and the fields of `added`; None where that is not safe.

    None of the keys of `added` may be in `body`.
    """
    found = _value(raw, body["model"]) if raw.startswith(b"{") and isinstance(body.get("model"), str) else None
    if found is None or model is None:
        return None
    start, end = found
    first = orjson.dumps(added)[:-1] + b"," if added else b"{"
    return b"".join((first, raw[1:start], _quoted(model), raw[end:]))


def _value(raw: bytes, model: str) -> tuple[int, int] | None:
    """Start and end of the model's value."""
    before, key, after = raw[:REACH].partition(_KEY)  # `find` with bounds takes four times as long
    at = len(before)
    if not key or not _opens(before):
        _, key, after = raw[-REACH:].rpartition(_KEY)
        at = len(raw) - len(after) - len(_KEY)
        if not key or not _closes(key + after):
            return None
    at, value = at + len(_KEY), _quoted(model)
    space, found, _ = raw[at : at + MOST_SPACE + len(value)].partition(value)
    if not found or space.strip() != b":":
        return None  # also where the client writes the value with escapes
    start = at + len(space)
    return start, start + len(value)


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
