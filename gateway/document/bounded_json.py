r"""Parses JSON from clients in bounded time: it first bounds the number of values.

    {"model":"m","messages":[{"role":"user","content":"if (a[i] == {...}) {"}]}
    ^            ^          ^^             ^           strings: punctuation inside them does not count

Parsing millions of small values takes seconds. Each value but the first follows a bracket, a brace or a comma, so their
number is an upper bound. Strings contain them too, code most of all: where the plain count is high, strings are removed
first. Every step is one pass of C over the bytes. A document for which even that would be slow, with megabytes of
escapes, counts as having too many values.
"""

import gc
from typing import Any

import orjson

from gateway.errors import BadRequest

SMALL = 1 << 18  # bytes; a smaller body is parsed within 50 ms, whatever it contains, and not counted
MOST = 65_536  # values, less one for each ONE_LESS bytes
ONE_LESS = 512  # bytes; so long a prompt exceeds the context of any model
SLICE = 1 << 18  # bytes counted at a time
LONGEST_SIFT = 60e6  # ns that removing the strings may take, by the two costs below
PER_BYTE = 3
PER_ESCAPE = 12
UNPAUSED = 1 << 15  # bytes; for less than that, the garbage collector hardly runs


def read_json(raw: bytes) -> Any:
    """Parses `raw`. Raises BadRequest where it has too many values, orjson.JSONDecodeError where it is not JSON."""
    if len(raw) <= UNPAUSED:
        return orjson.loads(raw)
    if len(raw) > SMALL and has_more_values(raw, MOST - len(raw) // ONE_LESS):
        raise BadRequest("the body contains too many lists, objects and values, or too many escapes")
    gc.disable()  # it would traverse every new container again and again, and find nothing
    try:
        return orjson.loads(raw)
    finally:
        gc.enable()


def has_more_values(raw: bytes, most: int) -> bool:
    """Whether a JSON document has more than `most` values; True also where counting would be slow."""
    if not _has_more_marks(raw, most):
        return False
    escapes = raw.count(b"\\")
    if PER_BYTE * len(raw) + PER_ESCAPE * escapes > LONGEST_SIFT:
        return True
    if escapes:
        if rb'\\"' in raw:  # is the quote escaped, or the backslash before it?
            raw = raw.replace(rb"\\", b"")
        raw = raw.replace(rb"\"", b"")
    if raw.count(b'"') > 4 * most + 4:  # a name and a text for each value, in two quotes each
        return True
    return _has_more_marks(b"".join(raw.split(b'"')[::2]), most)


def _has_more_marks(raw: bytes, most: int) -> bool:
    """By deleting them: `replace` searches as fast as memory is read, and `count` does not."""
    found = 0
    for start in range(0, len(raw), SLICE):
        part = raw[start : start + SLICE]
        found += len(part) - len(part.replace(b",", b"").replace(b"[", b"").replace(b"{", b""))
        if found > most:
            return True
    return False
