"""Parses again a body that orjson rejects: unambiguous deviations are accepted, others are a 400 with the reason.

    byte order mark ─> dropped          half of a surrogate pair ─> U+FFFD          NaN, UTF-16, not UTF-8 ─> 400

A conversation with a truncated emoji would be rejected in every later turn, and an agent cannot edit its history.
"""

import codecs
import re
from collections.abc import Iterator
from itertools import islice

import orjson

from gateway.errors import BadRequest

LARGEST = 4 << 20  # bytes of a body that is parsed again, more than any prompt has
MOST_ESCAPES = 50_000  # escaped surrogates that are repaired; limits the time
_HEX = b"[0-9a-fA-F]{2}"
# After an even number of backslashes, which are escaped themselves. No possessive quantifiers: they are broken before
# Python 3.11.5.
_SURROGATE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u[dD](?:[89abAB]%b(\\u[dD][c-fC-F]%b)?|[c-fC-F]%b)" % (_HEX, _HEX, _HEX))
_REPLACEMENT = rb"\ufffd"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"{\0", b"\0{", b"\0\0")  # first bytes of JSON in UTF-16 or UTF-32
_NO_NUMBER = re.compile(r"-?(?:NaN|Infinity)")


def reread(raw: bytes, error: orjson.JSONDecodeError) -> tuple[object, bytes]:
    """The value of `raw`, which orjson rejected with `error`, and the repaired JSON. Raises BadRequest."""
    if raw.startswith(_WIDE):
        raise BadRequest("the body is not JSON in UTF-8: it seems to be UTF-16 or UTF-32")
    text = _repaired(raw.removeprefix(codecs.BOM_UTF8)) if len(raw) <= LARGEST else raw
    try:
        return orjson.loads(text), text
    except orjson.JSONDecodeError as last:
        raise BadRequest(f"the body is not JSON: {_why(text, last)}") from None


def _repaired(raw: bytes) -> bytes:
    """`raw` with U+FFFD in place of each unpaired surrogate, escaped or encoded."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        try:
            wide = raw.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
        except UnicodeDecodeError:
            return raw
        raw = wide.decode("utf-16", "replace").encode()
    return b"".join(_whole(raw))


def _whole(raw: bytes) -> Iterator[bytes]:
    """`raw` with U+FFFD in place of each escaped unpaired surrogate."""
    at = 0
    for found in islice(_SURROGATE.finditer(raw), MOST_ESCAPES):
        yield raw[at : found.start()]
        yield found[1] + _REPLACEMENT if found[2] is None else found[0]
        at = found.end()
    yield raw[at:]


def _why(text: bytes, error: orjson.JSONDecodeError) -> str:
    if "UTF-8" in error.msg:
        return "it is not UTF-8"
    if name := _NO_NUMBER.match(error.doc, error.pos):
        return f"{name[0]} is not valid JSON; send null or leave it out: line {error.lineno} column {error.colno}"
    return str(error)
