"""A second look at a body that orjson refuses: what means one thing only is read, the rest is a 400 that says why.

    byte order mark ─> dropped          half of a surrogate pair ─> U+FFFD          NaN, UTF-16, not UTF-8 ─> 400

A conversation that was cut in the middle of an emoji would be refused on every turn from then on, and an agent cannot
take it back.
"""

import codecs
import re
from collections.abc import Iterator
from itertools import islice

import orjson

from gateway.errors import BadRequest

LARGEST = 4 << 20  # bytes that are looked at again, more than any prompt has, and
MOST_ESCAPES = 50_000  # escaped surrogates in them: so that no body takes long
_HEX = b"[0-9a-fA-F]{2}"
# Behind an even number of backslashes, which are escaped themselves. No possessive quantifiers: before 3.11.5 Python
# matches too little with them.
_SURROGATE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u[dD](?:[89abAB]%b(\\u[dD][c-fC-F]%b)?|[c-fC-F]%b)" % (_HEX, _HEX, _HEX))
_REPLACEMENT = rb"\ufffd"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"{\0", b"\0{", b"\0\0")  # how JSON in UTF-16 or UTF-32 begins
_NO_NUMBER = re.compile(r"-?(?:NaN|Infinity)")


def reread(raw: bytes, error: orjson.JSONDecodeError) -> tuple[object, bytes]:
    """What `raw` means, which orjson refused with `error`, and the JSON that it was read from. Raises BadRequest."""
    if raw.startswith(_WIDE):
        raise BadRequest("the body is not JSON in UTF-8: it seems to be UTF-16 or UTF-32")
    text = _mended(raw.removeprefix(codecs.BOM_UTF8)) if len(raw) <= LARGEST else raw
    try:
        return orjson.loads(text), text
    except orjson.JSONDecodeError as last:
        raise BadRequest(f"the body is not JSON: {_why(text, last)}") from None


def _mended(raw: bytes) -> bytes:
    """With U+FFFD for each half of a surrogate pair, escaped or in bytes of its own."""
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
    """Escaped pairs as they are, halves of one as U+FFFD."""
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
        return f"{name[0]} is no JSON number, send null or leave it out: line {error.lineno} column {error.colno}"
    return str(error)
