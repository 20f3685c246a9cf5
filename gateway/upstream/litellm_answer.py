"""What comes back by way of litellm: the host's bytes on their way to it, and its chunks in OpenAI's shape.

litellm maps finish reasons that it does not know to `stop`, says `stop` where the host said nothing, and counts tokens
itself where the host did not. So the host's own words are read from the bytes as they pass: `Words`.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gateway.repair.lenient import loads
from gateway.types.finish_reason import finish

HIGH = 256 * 1024  # bytes that wait for litellm before the host is held back
_TAIL = 512  # bytes in which a reason that two reads share is found again
# Bedrock's and OpenAI's names. Inside a JSON string the quotes would be escaped.
_REASON = re.compile(rb'"(?:stopReason|finish_reason)"\s*:\s*"([^"\\]{1,200})"')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_EXCEPTION = re.compile(rb":exception-type\x07..(\w+).*?(\{.*\})", re.DOTALL)
_ENVELOPE = ("id", "object", "created", "model", "system_fingerprint", "usage")
_PART = ("role", "content", "reasoning_content", "refusal", "tool_calls")


class Body:
    """The bytes of a 200, between the transport that feeds and litellm that reads."""

    __slots__ = ("_error", "_news", "_over", "_pieces", "_size", "_throttle")

    def __init__(self, throttle: Callable[[bool], None]) -> None:
        """`throttle` is told True when enough waits, and False when all of it was taken."""
        self._throttle = throttle
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._error: Exception | None = None
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Body {self._size} bytes wait{', over' if self._over else ''}>"

    @property
    def full(self) -> bool:
        return self._size > HIGH

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        self._news.set()
        if self.full:
            self._throttle(True)

    def end(self, error: Exception | None = None) -> None:
        """No more comes; `error` is raised after what did."""
        self._over, self._error = True, error
        self._news.set()

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        was_full = self.full
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if was_full:
            self._throttle(False)
        return data


class Words:
    """The host's own words, found in the bytes of its 200: how it ended, whether it counted, what went wrong."""

    __slots__ = ("_pieces", "_tail", "counted", "problem", "reason", "streamed")

    def __init__(self) -> None:
        self.streamed = False
        self.reason: str | None = None
        self.counted = False  # whether there is a usage
        self.problem: tuple[str, str] | None = None  # an event stream's exception: its type and its JSON
        self._tail = b""
        self._pieces: list[bytes] = []  # of a whole answer

    def __repr__(self) -> str:
        return f"<Words {self.reason} {self.problem}>"

    def feed(self, data: bytes) -> None:
        if not self.streamed:
            self._pieces.append(data)
            return
        data = self._tail + data
        for match in _REASON.finditer(data):
            self.reason = _text(match[1])
        self.counted = self.counted or _USAGE.search(data) is not None
        if failed := _EXCEPTION.search(data):
            self.problem = _text(failed[1]), _text(failed[2])
        self._tail = data[-_TAIL:]

    def end(self) -> None:
        """All bytes have come."""
        payload = loads(b"".join(self._pieces))[0] or {}
        self._pieces.clear()
        choices = payload.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        reason = payload.get("stopReason") or (first.get("finish_reason") if isinstance(first, dict) else None)
        self.reason = self.reason or (reason if isinstance(reason, str) else None)
        self.counted = self.counted or bool(payload.get("usage"))

    def ending(self, mapped: object) -> object:
        """The finish reason to tell where litellm says `mapped`: its own where it knows the host's word."""
        return mapped if mapped is None or finish(self.reason) else self.reason


def chunk(payload: dict[str, Any], words: Words) -> dict[str, Any]:
    """One of litellm's chunks as OpenAI would send it."""
    choices = [
        {
            "index": choice.get("index", 0),
            "delta": _part(choice.get("delta")),
            "finish_reason": words.ending(choice.get("finish_reason")),
            **_kept(choice, ("logprobs",)),
        }
        for choice in payload.get("choices") or ()
    ]
    return {**_envelope(payload, words), "choices": choices}


def completion(payload: dict[str, Any], words: Words) -> dict[str, Any]:
    """litellm's whole answer as OpenAI would send it."""
    choices = [
        {
            "index": choice.get("index", 0),
            "message": {"content": None, **_part(choice.get("message"))},
            "finish_reason": words.ending(choice.get("finish_reason")),
            **_kept(choice, ("logprobs",)),
        }
        for choice in payload.get("choices") or ()
    ]
    return {**_envelope(payload, words), "choices": choices}


def _envelope(payload: dict[str, Any], words: Words) -> dict[str, Any]:
    kept = _kept(payload, _ENVELOPE)
    used = kept.pop("usage", None)
    if used and words.counted:  # else litellm counted
        kept["usage"] = _without_nulls(used)
    return kept


def _part(part: dict[str, Any] | None) -> dict[str, Any]:
    """A delta or message: litellm adds fields of its own, and nulls."""
    kept = _kept(part or {}, _PART)
    if "tool_calls" in kept:
        kept["tool_calls"] = [_without_nulls(call) for call in kept["tool_calls"]]
    return kept


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_nulls(one) if isinstance(one, dict) else one for name, one in value.items() if one is not None
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _kept(table: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: table[name] for name in names if table.get(name) is not None}
