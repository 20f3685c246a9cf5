"""The answer on its way through litellm: the host's bytes that litellm reads, and litellm's chunks in OpenAI's shape.

litellm maps unknown finish reasons to `stop`, reports `stop` where the host reported none, and counts tokens itself
where the host did not. So `HostFacts` reads the finish reason, the usage and errors from the host's own bytes.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gateway.repair.lenient_json import loads
from gateway.types.finish_reason import canonical_reason

HIGH = 256 * 1024  # bytes that wait for litellm before reading from the host pauses
_TAIL = 512  # bytes kept between reads, so that a finish reason cut by a read border is found
# Bedrock's and OpenAI's names. Inside a JSON string the quotes would be escaped.
_REASON = re.compile(rb'"(?:stopReason|finish_reason)"\s*:\s*"([^"\\]{1,200})"')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_EXCEPTION = re.compile(rb":exception-type\x07..(\w+).*?(\{.*\})", re.DOTALL)
_ENVELOPE = ("id", "object", "created", "model", "system_fingerprint", "usage")
_PART = ("role", "content", "reasoning_content", "refusal", "tool_calls")


class Body:
    """The bytes of a 200, from the transport (`feed`) to litellm (async iteration)."""

    __slots__ = ("_error", "_news", "_over", "_pieces", "_size", "_throttle")

    def __init__(self, throttle: Callable[[bool], None]) -> None:
        """`throttle(True)` is called when HIGH bytes wait, `throttle(False)` when litellm has taken them all."""
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
        """No more bytes follow; `error` is raised after the last of them was read."""
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


class HostFacts:
    """Facts read from the host's own bytes of a 200: finish reason, whether it reported usage, its error."""

    __slots__ = ("_pieces", "_tail", "has_usage", "problem", "reason", "streamed")

    def __init__(self) -> None:
        self.streamed = False
        self.reason: str | None = None
        self.has_usage = False  # whether the host reported usage
        self.problem: tuple[str, str] | None = None  # the exception of an AWS event stream: its type and its JSON
        self._tail = b""
        self._pieces: list[bytes] = []  # of an answer that is not streamed

    def __repr__(self) -> str:
        return f"<HostFacts {self.reason} {self.problem}>"

    def feed(self, data: bytes) -> None:
        if not self.streamed:
            self._pieces.append(data)
            return
        data = self._tail + data
        for match in _REASON.finditer(data):
            self.reason = _text(match[1])
        self.has_usage = self.has_usage or _USAGE.search(data) is not None
        if failed := _EXCEPTION.search(data):
            self.problem = _text(failed[1]), _text(failed[2])
        self._tail = data[-_TAIL:]

    def end(self) -> None:
        """All bytes have arrived."""
        payload = loads(b"".join(self._pieces))[0] or {}
        self._pieces.clear()
        choices = payload.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        reason = payload.get("stopReason") or (first.get("finish_reason") if isinstance(first, dict) else None)
        self.reason = self.reason or (reason if isinstance(reason, str) else None)
        self.has_usage = self.has_usage or bool(payload.get("usage"))

    def ending(self, mapped: object) -> object:
        """The finish reason to send for litellm's `mapped`: litellm's where it knows the host's reason, else the host's
        own."""
        return mapped if mapped is None or canonical_reason(self.reason) else self.reason


def chunk(payload: dict[str, Any], facts: HostFacts) -> dict[str, Any]:
    """One of litellm's chunks in OpenAI's shape."""
    choices = [
        {
            "index": choice.get("index", 0),
            "delta": _part(choice.get("delta")),
            "finish_reason": facts.ending(choice.get("finish_reason")),
            **_kept(choice, ("logprobs",)),
        }
        for choice in payload.get("choices") or ()
    ]
    return {**_envelope(payload, facts), "choices": choices}


def completion(payload: dict[str, Any], facts: HostFacts) -> dict[str, Any]:
    """litellm's whole answer in OpenAI's shape."""
    choices = [
        {
            "index": choice.get("index", 0),
            "message": {"content": None, **_part(choice.get("message"))},
            "finish_reason": facts.ending(choice.get("finish_reason")),
            **_kept(choice, ("logprobs",)),
        }
        for choice in payload.get("choices") or ()
    ]
    return {**_envelope(payload, facts), "choices": choices}


def _envelope(payload: dict[str, Any], facts: HostFacts) -> dict[str, Any]:
    kept = _kept(payload, _ENVELOPE)
    used = kept.pop("usage", None)
    if used and facts.has_usage:  # else litellm has_usage the tokens itself
        kept["usage"] = _without_nulls(used)
    return kept


def _part(part: dict[str, Any] | None) -> dict[str, Any]:
    """A delta or a message without the fields and nulls that litellm adds."""
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
