"""Server-sent events as hosts send them, cut at event borders without touching the bytes.

A read from the socket usually holds whole events: then its bytes pass through as they are. What is left of an event
waits for the next read; a client could not use it earlier anyway.
"""

from collections.abc import Iterator
from typing import Any

import orjson

LONGEST_EVENT = 8 * 1024 * 1024
DONE = b"[DONE]"


class TooLong(ValueError):
    """An event that does not end: not SSE, or not for us."""


class Splitter:
    """Gives back whole events, keeps the rest."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """All events that are complete, as the host sent them; empty when none is. Raises TooLong."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if data.endswith(b"\n\n"):
            return data
        border = max(_after(data, b"\n\n"), _after(data, b"\r\n\r\n"))
        self._rest = data[border:]
        if len(self._rest) > LONGEST_EVENT:
            raise TooLong(f"an event of more than {LONGEST_EVENT} bytes")
        return data[:border]

    def rest(self) -> bytes:
        """What came after the last border; a last event that the host did not end with a blank line."""
        return self._rest


def events(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(event as sent with its blank line, its data) for each event; data is empty for comments and blank events."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    for raw in block.split(b"\n\n"):
        if raw:
            yield raw + b"\n\n", _data(raw)


def event(data: bytes) -> bytes:
    """One event with this data, which holds no line break."""
    return b"data: " + data + b"\n\n"


def _after(data: bytes, border: bytes) -> int:
    """Where the last `border` ends; 0 when there is none."""
    at = data.rfind(border)
    return at + len(border) if at >= 0 else 0


def _data(raw: bytes) -> bytes:
    if raw.startswith(b"data:") and b"\n" not in raw:
        return raw[5:].strip()
    lines = (line[5:].strip() for line in raw.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(lines)


def payloads(block: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of all events in `block`, without comments and [DONE]."""
    for _, data in events(block):
        if data and data != DONE:
            yield orjson.loads(data)
