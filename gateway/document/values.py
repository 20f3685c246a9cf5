r"""JSON of strangers, read in a bounded time: how many values it holds is found out first.

    {"model":"m","messages":[{"role":"user","content":"if (a[i] == {...}) {"}]}
    ^            ^          ^^             ^           texts: what is in them counts for nothing

Reading millions of small values takes seconds. Each value but the first begins after a bracket, a brace or a comma, so
their number is the most that there can be. Texts hold them too, code most of all: where the plain count is high, texts
are taken out first. Every step is one pass of C over the bytes; a document in which even that would take long,
megabytes of escapes, counts as too many.
"""

import gc
from typing import Any

import orjson

from gateway.errors import BadRequest

SMALL = 1 << 18  # bytes; what is not larger is read in 50 ms whatever it holds, and not counted
MOST = 65_536  # values, and one less for each
ONE_LESS = 512  # bytes; a prompt of so many is longer than any model reads
SLICE = 1 << 18  # bytes that are counted at a time
LONGEST_SIFT = 60e6  # nanoseconds that taking the texts out may take, by the two prices below
PER_BYTE = 3
PER_ESCAPE = 12
UNPAUSED = 1 << 15  # bytes; in less than that the collector has little to do


def read_json(raw: bytes) -> Any:
    """What `raw` says. Raises BadRequest where it holds too many values to be read, orjson.JSONDecodeError where it is
    no JSON."""
    if len(raw) <= UNPAUSED:
        return orjson.loads(raw)
    if len(raw) > SMALL and has_more_values(raw, MOST - len(raw) // ONE_LESS):
        raise BadRequest("the body holds too many lists, objects and values, or too many escapes, to be read")
    gc.disable()  # it would look at every container again and again while they are made, and find nothing
    try:
        return orjson.loads(raw)
    finally:
        gc.enable()


def has_more_values(raw: bytes, most: int) -> bool:
    """Whether a JSON document holds more than `most` values; also true where that would take long to find out."""
    if not _has_more_marks(raw, most):
        return False
    escapes = raw.count(b"\\")
    if PER_BYTE * len(raw) + PER_ESCAPE * escapes > LONGEST_SIFT:
        return True
    if escapes:
        if rb'\\"' in raw:  # is it a text's end, or is the quote escaped as well?
            raw = raw.replace(rb"\\", b"")
        raw = raw.replace(rb"\"", b"")
    if raw.count(b'"') > 4 * most + 4:  # a name and a text for each value, in two quotes each
        return True
    return _has_more_marks(b"".join(raw.split(b'"')[::2]), most)


def _has_more_marks(raw: bytes, most: int) -> bool:
    found = 0
    for start in range(0, len(raw), SLICE):
        end = start + SLICE
        found += raw.count(b",", start, end) + raw.count(b"[", start, end) + raw.count(b"{", start, end)
        if found > most:
            return True
    return False
