"""Decides which events of a relayed stream may pass as bytes: those that provably are what the client expects.

    event ── equal to the last one but for its text ──> passes     whole runs of such events at once
          ── of the common shape ─────────────────────> passes     valid JSON, text only: no end, error, usage, call
          ── anything else ───────────────────────────> is parsed and serialised again

The first check compares bytes: between a prefix and a suffix that were proven once, plain text can only be text. It
does not depend on read boundaries, and costs less than searching the bytes for markers.
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
_TEXT = re.compile(rb'content": ?"')  # what precedes the text of `content`, or of `reasoning_content`
_PROBE = "?"
_TAIL = 5  # bytes: `}]}` and the blank line
_MOST_PROOFS = 4  # per stream, e.g. after reasoning ends or a role; a host whose events all differ is not followed
_SPECIAL = re.compile(rb'["\\\x00-\x1f\x80-\xff]').search  # not in ASCII text without escapes


class _Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _TextChoice(msgspec.Struct, gc=False):
    """Fields of type None must be null; those with a default may be absent."""

    delta: _Delta
    index: int
    finish_reason: None
    error: None = None
    usage: None = None
    message: None = None
    logprobs: dict[str, Any] | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_TextChoice]
    object: Literal["chat.completion.chunk"]
    id: str = ""
    model: str = ""
    created: int = 0
    error: None = None
    usage: None = None  # null, as OpenAI sends it before the end
    x_groq: UnsetType = UNSET


class _Arguments(msgspec.Struct, gc=False):
    arguments: str
    name: Literal["", None] = None


class PlainFragment(msgspec.Struct, gc=False):
    """A later fragment of a tool call's arguments."""

    index: int
    function: _Arguments
    id: Literal["", None] = None


class _PlainDelta(_Delta, gc=False, forbid_unknown_fields=True):
    reasoning: str | None = None
    tool_calls: tuple[PlainFragment] | None = None
    function_call: None = None


class PlainChoice(_TextChoice, gc=False, kw_only=True):
    """A choice with text, or with one fragment of a tool call; only that fragment may need normalising."""

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
_MOST_MISSES = 8  # in a row, after which only one of LOOKS events is examined
_EXAMINE_EVERY = 16
_OTHER_SHAPE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Guard:
    """Follows one stream."""

    __slots__ = ("_after", "_before", "_between", "_misses", "_proofs", "_start", "_stop", "_tail", "_text", "_two")

    def __init__(self) -> None:
        self._proofs = 0
        self._misses = 0  # events in a row of another shape
        self._follow(b"", b"-")  # no block ends in "-"

    def _follow(self, before: bytes, after: bytes) -> None:
        """Expects `before` and `after` (with the blank line) around the text of events from now on."""
        self._before, self._after, self._between = before, after, after + before
        self._start, self._stop = len(before), -len(after)
        self._two = 2 * len(self._between)  # fewer bytes are one event
        # Brackets are rare in texts: splitting at the last ones of an event is faster than at its blank line.
        self._tail = after[-_TAIL:]
        self._text = itemgetter(slice(len(before), len(self._tail) - len(after)))  # of an event without its tail

    def __repr__(self) -> str:
        return f"<Guard {self._before!r}>"

    def texts_in(self, block: bytes) -> int | None:
        """How many deltas in the events of `block` hold text; None where one has another shape, or is incomplete."""
        if len(block) < self._two:
            if self._matches_last(block):
                return 1
        elif block.endswith(self._after) and (events := self._run(block)):
            return events
        if not block.endswith(_END):
            return None
        found = 0
        for event in block[: -len(_END)].split(_END):
            texts = self.texts_of(event)
            if texts is None:
                return None
            found += texts
        return found

    def runs(self, block: bytes) -> Iterator[tuple[bytes, int]]:
        """Cuts a block of whole events into runs of events that equal the last one but for their text. Each run comes
        with its number of texts; events to be examined one by one come with 0."""
        if texts := self._run(block):
            yield block, texts
            return
        events = [event + _END for event in block[: -len(_END)].split(_END)]
        for usual, run in groupby(events, self._matches_last):
            alike = [*run]
            yield b"".join(alike), len(alike) if usual else 0

    def _run(self, block: bytes) -> int:
        """The number of events in a block where each equals the last one but for its text; else 0."""
        events = block.split(self._tail)
        rest = events.pop()
        texts = [*map(self._text, events)]
        if rest or not all(texts) or self._before + self._between.join(texts) + self._after != block:
            return 0
        return len(texts) if _is_text(b" ".join(texts)) else 0  # a space completes neither an escape nor a character

    def _matches_last(self, event: bytes) -> bool:
        """Whether an event, with its blank line, equals the last one but for its text."""
        text = event[self._start : self._stop]
        if not text or self._before + text + self._after != event:
            return False
        return (text.isascii() and _SPECIAL(text) is None) or _is_text(text)

    def texts_of(self, event: bytes) -> int | None:
        """As `texts_in`, for one event without its blank line."""
        if self._matches_last(event + _END):
            self._misses = 0
            return 1
        if self._misses > _MOST_MISSES and self._misses % _EXAMINE_EVERY:
            self._misses += 1
            return None
        texts = self._examine(event)
        self._misses = self._misses + 1 if texts is None else 0
        return texts

    def _examine(self, event: bytes) -> int | None:
        if not event.startswith(_START) or b"\n" in event or b"\r" in event:
            return None
        if not event.isascii() and not _is_utf8(event):  # the decoder does not look into fields that are not listed
            return None
        texts = _texts(event[len(_START) - 1 :])
        if texts == 1 and self._proofs < _MOST_PROOFS:
            self._prove(event)
        return texts

    def _prove(self, event: bytes) -> None:
        """Finds the prefix and suffix around the text of an event of the common shape, and proves them with another
        text."""
        self._proofs += 1
        for found in _TEXT.finditer(event):
            start = found.end()
            end = event.find(b'"', start)
            before, after = event[:start], event[end:]
            probe = _PROBE.encode().join((before, after))
            if end > start and _texts(probe[len(_START) - 1 :], _PROBE) == 1:
                self._follow(before, after + _END)


def plain_choice(data: bytes) -> PlainChoice | None:
    """The one choice of a plain chunk; None for any other chunk. Fields that are not read here may still hold invalid
    JSON."""
    try:
        chunk = _PLAIN_DECODER.decode(data)
    except _OTHER_SHAPE:
        return None
    return chunk.choices[0] if len(chunk.choices) == 1 else None


def _texts(data: bytes, text: str | None = None) -> int | None:
    """How many deltas of one chunk hold text, or exactly `text` where given; None for another shape."""
    try:
        chunk = _DECODER.decode(data)
    except _OTHER_SHAPE:
        return None
    found = 0
    for choice in chunk.choices:
        delta = choice.delta
        found_text = delta.content or delta.reasoning_content or delta.refusal
        if found_text and text in (None, found_text):
            found += 1
    return found if chunk.choices else None


def _is_text(inner: bytes) -> bool:
    """Whether these bytes are the inside of a JSON string."""
    try:
        orjson.loads(b'"%b"' % inner)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
