"""The guard of a relayed stream: whether events are provably what a client expects, so that their bytes may pass.

    event ──as the last one, but for its text──> passes          whole runs of such events at once
          ──of the one usual shape─────────────> passes          sound JSON, text only: no end, error, usage or call
          ──anything else──────────────────────> is parsed and written anew

The first check compares bytes: between a start and an end that were proven once, plain text can only be text. It does
not depend on where reads end, and costs less than looking for marks in the bytes.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import msgspec
import orjson
from msgspec import UNSET, UnsetType

_START = b"data: {"
_END = b"\n\n"
_TEXT = re.compile(rb'content": ?"')  # what stands before the text of `content`, or of `reasoning_content`
_PROBE = "?"
_MOST_PROOFS = 4  # in one stream: an end of thinking, a role; a host whose events all differ is not followed
_ASCII = rb'[^"\\\x00-\x1f\x80-\xff]*'
_ESCAPES = rb'\\["\\/bfnrt]|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})'  # no halves of characters
_UTF8 = rb"""[\xc2-\xdf][\x80-\xbf]
    |\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}
    |\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"""
_PLAIN = re.compile(b"%b+(?:(?:%b|%b)%b+)*+" % (_ASCII, _ESCAPES, b"".join(_UTF8.split()), _ASCII)).fullmatch


class _Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _UsualChoice(msgspec.Struct, gc=False):
    """Fields with the type None must be null; those with a default may be absent."""

    delta: _Delta
    index: int
    finish_reason: None
    error: None = None
    usage: None = None
    message: None = None
    logprobs: dict[str, Any] | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_UsualChoice]
    object: Literal["chat.completion.chunk"]
    id: str = ""
    model: str = ""
    created: int = 0
    error: None = None
    usage: None = None  # null, as OpenAI writes it before the end
    x_groq: UnsetType = UNSET


class _Arguments(msgspec.Struct, gc=False):
    arguments: str
    name: Literal["", None] = None


class PlainPiece(msgspec.Struct, gc=False):
    """More arguments of a tool call that has begun."""

    index: int
    function: _Arguments
    id: Literal["", None] = None


class _PlainDelta(_Delta, gc=False, forbid_unknown_fields=True):
    reasoning: str | None = None
    tool_calls: tuple[PlainPiece] | None = None
    function_call: None = None


class PlainChoice(_UsualChoice, gc=False, kw_only=True):
    """A choice that brings text, or one piece of a tool call, and needs no normalising but of that piece."""

    delta: _PlainDelta
    usage: UnsetType = UNSET  # type: ignore[assignment]
    message: UnsetType = UNSET  # type: ignore[assignment]
    text: UnsetType = UNSET


class _PlainChunk(_Chunk, gc=False, kw_only=True):
    choices: list[PlainChoice]  # type: ignore[assignment]
    id: str
    model: str
    created: int


_DECODER = msgspec.json.Decoder(_Chunk)
_PLAIN_DECODER = msgspec.json.Decoder(_PlainChunk)
_MISSES = 8  # in a row, after which most events are not looked at
_LOOKS = 16  # then one of so many is
_UNUSUAL = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Guard:
    """Follows one stream."""

    __slots__ = ("_after", "_after_event", "_before", "_misses", "_proofs", "_text")

    def __init__(self) -> None:
        self._before = b""
        self._after = b"-"  # with the blank line: no block ends so
        self._after_event = _END  # and without: no event ends so
        self._text = itemgetter(slice(0))  # of an event without its first bytes
        self._proofs = 0
        self._misses = 0  # events in a row that were not of the usual shape

    def __repr__(self) -> str:
        return f"<Guard {self._before!r}>"

    def texts_in(self, block: bytes) -> int | None:
        """How many deltas of the whole events in `block` hold text; None where one of them is of another shape."""
        before, after = self._before, self._after
        start, end = len(before), len(block) - len(after)
        if start < end and block.startswith(before) and block.endswith(after):
            if _PLAIN(block, start, end):
                return 1
            if events := self._run(block):
                return events
        found = 0
        for event in block[: -len(_END)].split(_END):
            texts = self.texts_of(event)
            if texts is None:
                return None
            found += texts
        return found

    def runs(self, block: bytes) -> Iterator[tuple[bytes, int]]:
        """Cuts a block of whole events where runs of events like the last one start and end. Each run comes with the
        number of its texts; what must be looked at event by event comes with 0."""
        if block.startswith(_START) and (texts := self._run(block)):
            yield block, texts
            return
        for usual, run in groupby(block[: -len(_END)].split(_END), self._is_as_the_last):
            events = [*run]
            yield _END.join((*events, b"")), len(events) if usual else 0

    def _run(self, block: bytes) -> int:
        """How many events a block has, where each is as the last one but for its text; else 0."""
        texts = [*map(self._text, block[len(_START) : -len(_END)].split(_END + _START))]
        if b"" in texts or self._before + (self._after + self._before).join(texts) + self._after != block:
            return 0
        try:
            orjson.loads(b'"%b"' % b" ".join(texts))  # a space between two completes neither an escape nor a character
        except orjson.JSONDecodeError:
            return 0
        return len(texts)

    def _is_as_the_last(self, event: bytes) -> bool:
        start, end = len(self._before), len(event) - len(self._after_event)
        frames = start < end and event.startswith(self._before) and event.endswith(self._after_event)
        return frames and _PLAIN(event, start, end) is not None

    def texts_of(self, event: bytes) -> int | None:
        """The same for one event, without its blank line."""
        if self._is_as_the_last(event):
            self._misses = 0
            return 1
        if self._misses > _MISSES and self._misses % _LOOKS:
            self._misses += 1
            return None
        texts = self._looked_at(event)
        self._misses = self._misses + 1 if texts is None else 0
        return texts

    def _looked_at(self, event: bytes) -> int | None:
        if not event.startswith(_START) or b"\n" in event or b"\r" in event:
            return None
        if not event.isascii() and not _is_utf8(event):  # the decoder does not look into fields that are not listed
            return None
        texts = _texts(event[len(_START) - 1 :])
        if texts == 1 and self._proofs < _MOST_PROOFS:
            self._prove(event)
        return texts

    def _prove(self, event: bytes) -> None:
        """Finds what stands before and after the text of an event of the usual shape, and proves it by another text."""
        self._proofs += 1
        for found in _TEXT.finditer(event):
            start = found.end()
            end = event.find(b'"', start)
            before, after = event[:start], event[end:]
            probe = _PROBE.encode().join((before, after))
            if end > start and _texts(probe[len(_START) - 1 :], _PROBE) == 1:
                self._before, self._after, self._after_event = before, after + _END, after
                self._text = itemgetter(slice(start - len(_START), -len(after)))


def plain_choice(data: bytes) -> PlainChoice | None:
    """The one choice of a plain chunk; None for any other chunk. What stands in fields that are not read here may still
    be no JSON."""
    try:
        chunk = _PLAIN_DECODER.decode(data)
    except _UNUSUAL:
        return None
    return chunk.choices[0] if len(chunk.choices) == 1 else None


def _texts(data: bytes, text: str | None = None) -> int | None:
    """How many deltas of one chunk hold text, and which one where it is given; None for another shape."""
    try:
        chunk = _DECODER.decode(data)
    except _UNUSUAL:
        return None
    found = 0
    for choice in chunk.choices:
        delta = choice.delta
        said = delta.content or delta.reasoning_content or delta.refusal
        if said and text in (None, said):
            found += 1
    return found if chunk.choices else None


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
