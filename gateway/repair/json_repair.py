"""Repairs broken JSON that has only one possible meaning.

    ```json {"a": 1}```      a code fence around it
    {"a": 1}{"a": 1}         the same value twice
    {"a": [1, 2,],}          commas before a closing bracket
    {"a": {"b": "c"          closing brackets missing at the end of a finished answer

In an answer that was requested as JSON, text around the JSON is removed as well, where there is only one object.
Anything ambiguous stays as it is: an unfinished string, a number that may lack digits, two different values.
"""

import re
from typing import Any

import orjson

from gateway.repair.lenient_json import without_commas

DEEPEST = 1024  # open brackets; deeper JSON is invalid for most parsers

_TOKEN = re.compile(r'["{}\[\]]|\\.?', re.DOTALL)  # a backslash matches with the character that it escapes
_CLOSES = {"{": "}", "[": "]"}
_FENCED = re.compile(r"\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_ANY_FENCE = re.compile(r"^```[\w-]*[ \t]*\n(.*?)\n?^```[ \t]*$", re.DOTALL | re.MULTILINE)
_ENDS_VALUE = re.compile(r'(?:["}\]]|true|false|null)\s*\Z')


class Brackets:
    """Tracks the open brackets of a JSON text that arrives in pieces."""

    __slots__ = ("_open", "broken", "in_string", "skips", "whole")

    def __init__(self) -> None:
        self._open: list[str] = []  # their closing brackets
        self.in_string = False  # whether the next character is inside a string
        self.skips = False  # the next character is escaped
        self.broken = False  # a closing bracket without an opening one, or too many open ones
        self.whole = False  # the first object or list is complete

    @property
    def missing(self) -> str:
        """The brackets that would close it; empty inside a string, because that may lack more."""
        return "" if self.in_string or self.broken else "".join(reversed(self._open))

    def feed(self, text: str) -> int:
        """Where in `text` the first object or list ends; its length where the end is still to come."""
        at = 1 if self.skips and text else 0
        self.skips = self.skips and not text
        if self.whole:
            return at
        for found in _TOKEN.finditer(text, at):
            token = found[0]
            if token == '"':
                self.in_string = not self.in_string
            elif token[0] == "\\":
                self.skips = len(token) == 1
            elif not self.in_string:
                self._bracket(token)
                if self.whole:
                    return found.end()
        return len(text)

    def _bracket(self, token: str) -> None:
        if self.broken:
            return
        if token in _CLOSES and len(self._open) == DEEPEST:
            self.broken = True
        elif token in _CLOSES:
            self._open.append(_CLOSES[token])
        elif self._open and self._open[-1] == token:
            self._open.pop()
            self.whole = not self._open
        else:
            self.broken = True


def healed(text: str, finished: bool) -> str | None:
    """The JSON object or list that `text` must mean; None where `text` is valid, or where that is not certain.

    `finished`: the answer was not cut off. Only then can missing brackets be all that is missing.
    """
    if _is_structure(text):
        return None
    inner = fenced[1] if (fenced := _FENCED.fullmatch(text)) else text
    for candidate in (inner, _once(inner), without_commas(inner), closed(inner) if finished else None):
        if candidate is not None and _is_structure(candidate):
            return candidate
    return None


def healed_content(text: str, finished: bool) -> str | None:
    """As `healed`, for an answer that was requested as JSON: the text around it is removed."""
    whole = healed(text, finished)
    if whole is not None or _is_structure(text):
        return whole
    fences = _ANY_FENCE.findall(text)
    if fences:
        return _structure_of(fences[0], finished) if len(fences) == 1 else None
    start = text.find("{")  # a list could be a reference, as in [1]
    if start < 0:
        return None
    end = start + Brackets().feed(text[start:])
    return None if "{" in text[end:] else _structure_of(text[start:end], finished)


def is_copy(first: str, rest: str) -> bool:
    """Whether `rest` repeats `first`, in full or up to where it was cut."""
    again = rest.strip()
    return bool(again) and (first.strip().startswith(again) or _same(first, again))


def unquoted(text: str) -> str | None:
    """The JSON object inside a JSON string; None where there is none."""
    inner = _parsed(text)
    return inner if isinstance(inner, str) and isinstance(_parsed(inner), dict) else None


def closed(text: str) -> str | None:
    """`text` with its missing closing brackets; None where it may lack more than these."""
    brackets = Brackets()
    brackets.feed(text)
    if not brackets.missing or not _ENDS_VALUE.search(text):
        return None
    whole = text + brackets.missing
    return whole if _is_structure(whole) else None


def _structure_of(text: str, finished: bool) -> str | None:
    return text if _is_structure(text) else healed(text, finished)


def _once(text: str) -> str | None:
    end = Brackets().feed(text)
    return text[:end] if is_copy(text[:end], text[end:]) else None


def _same(first: str, second: str) -> bool:
    one: Any = _parsed(first)
    return one is not None and one == _parsed(second)


def _is_structure(text: str) -> bool:
    return isinstance(_parsed(text), (dict, list))


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
