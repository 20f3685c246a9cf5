"""Parses JSON that hosts write not quite correctly, where it has only one possible meaning.

    NaN, Infinity          null
    -Infinity              -9999, OpenAI's logprob of an impossible token
    a raw line break       in a string: kept
    [1, 2,]                a comma before a closing bracket: removed
    \\ud83d | \\ude00        a surrogate pair split over two texts: joined in the second one
    \\ud83d                 a lone surrogate: U+FFFD

In invalid UTF-8, a character split over two texts is joined, and other bytes become U+FFFD.
"""

import codecs
import json
import re
from typing import Any

import orjson

from gateway.document.nesting import DEEPEST, is_deeper

LEAST_LOGPROB = -9999.0
LOST = "\ufffd"

_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BYTES = re.compile("[\udc80-\udcff]+")  # as `surrogateescape` decodes them
_HALF = re.compile("[\ud800-\udfff]")
_OPEN_END = re.compile("(?:[\ud800-\udbff]|[\udc80-\udcff]+)\\Z")  # what the next text may complete
_CONSTANTS = {"-Infinity": LEAST_LOGPROB}
_DIGITS = 18  # of an integer that can be serialised again exactly


def loads(data: bytes) -> tuple[dict[str, Any] | None, bool]:
    """Returns a JSON object, or None where the data is none, or too deep to be serialised again; and whether it was not
    quite JSON: then its texts may hold lone surrogates."""
    payload, odd = parse(data)
    return checked(payload, data), odd


def parse(data: bytes) -> tuple[Any, bool]:
    """Any JSON value, None where the data is none; and whether it was not quite JSON."""
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError:
        return _loads(data), True


def checked(payload: Any, data: bytes) -> dict[str, Any] | None:
    """A JSON object as `parse` read it from `data`; None for any other value, and where it is too deep."""
    if not isinstance(payload, dict) or (may_be_deep(data) and is_deeper((payload,))):
        return None
    return payload


def may_be_deep(data: bytes) -> bool:
    """Whether JSON may be nested too deeply to be serialised again: a quick count of its brackets."""
    return len(data) > 2 * DEEPEST and data.count(b"[") + data.count(b"{") > DEEPEST


def without_commas(text: str) -> str:
    """JSON without commas before closing brackets."""
    return _STRING_OR_COMMA.sub(lambda found: found[1] or "", text)


def joined(text: str, held: str = "") -> tuple[str, str]:
    """`text` in whole characters, with the part of a character that was `held` in front; and the part at its end, to
    hold."""
    text = _PAIR.sub(_character, held + text)
    end = _OPEN_END.search(text)
    if end is None:
        return mended(text), ""
    whole, rest = _opened(end[0])
    return mended(text[: end.start()]) + whole, rest


def mended(text: str) -> str:
    """`text` with U+FFFD for each incomplete character."""
    if _HALF.search(text) is None:
        return text
    text = _BYTES.sub(_decoded, _PAIR.sub(_character, text))
    return _HALF.sub(LOST, text)


def all_mended(value: Any) -> Any:
    """The same for all texts in a JSON value."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, list):
        return [all_mended(one) for one in value]
    return {mended(name): all_mended(one) for name, one in value.items()} if isinstance(value, dict) else value


def _loads(data: bytes) -> Any:
    text = data.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    payload = _parsed(text)
    return _parsed(without_commas(text)) if payload is None else payload


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, strict=False, parse_constant=_CONSTANTS.get, parse_int=_number)
    except (ValueError, RecursionError):
        return None


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _opened(end: str) -> tuple[str, str]:
    """The whole characters in the end of a text, and the part that the next text may complete."""
    if _BYTES.fullmatch(end) is None:
        return "", end
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    whole = decoder.decode(end.encode("utf-8", "surrogateescape"))
    return whole, decoder.getstate()[0].decode("utf-8", "surrogateescape")


def _character(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _decoded(found: re.Match[str]) -> str:
    return found[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
