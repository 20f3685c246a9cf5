"""Server-sent events as hosts send them, cut at event borders without touching the bytes.

A read from the socket usually holds whole events: then its bytes pass through as they are. What is left of an event
waits for the next read; a client could not use it earlier anyway. Lines may end in LF or CRLF.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

LONGEST_EVENT = 8 * 1024 * 1024
DONE = b"[DONE]"
_BORDER = re.compile(rb"\n\r?\n")  # the end of a line, and a blank line
_OVERLAP = 2  # bytes of a border that may have come with the read before


class TooLong(ValueError):
    """An event that does not end: not SSE, or not for us."""


class Splitter:
    """Gives back whole events, keeps the rest."""

    __slots__ = ("_edge", "_rest", "_size")

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._edge = b""  # the last bytes of the rest

    def feed(self, data: bytes) -> bytes:
        """All events that are complete, as the host sent them; empty when none is. Raises TooLong."""
        if not self._rest and data.endswith(b"\n\n"):
            return data  # the usual read
        border = len(data) if data.endswith(b"\n\n") else _last_border(self._edge + data) - len(self._edge)
        if border <= 0:
            self._keep(data)
            return b""
        whole = b"".join((*self._rest, data[:border])) if self._rest else data[:border]
        self._rest.clear()
        self._size = 0
        self._edge = b""
        if border < len(data):
            self._keep(data[border:])
        return whole

    @property
    def partial(self) -> bool:
        """Whether something of an event is kept."""
        return self._size > 0

    def rest(self) -> bytes:
        """What came after the last border; a last event that the host did not end with a blank line."""
        return b"".join(self._rest)

    def _keep(self, data: bytes) -> None:
        self._rest.append(data)
        self._size += len(data)
        self._edge = (self._edge + data)[-_OVERLAP:]
        if self._size > LONGEST_EVENT:
            raise TooLong(f"an event of more than {LONGEST_EVENT} bytes")


def events(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(event as sent with its blank line, its data) for each event; data is empty for comments and blank events."""
    start = 0
    for border in _BORDER.finditer(block):
        raw = block[start : border.end()]
        start = border.end()
        yield raw, _data(raw)


def event(data: bytes) -> bytes:
    """One event with this data, which holds no line break."""
    return b"data: " + data + b"\n\n"


def payloads(block: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of all events in `block`, without comments and [DONE]."""
    for _, data in events(block):
        if data and data != DONE:
            yield orjson.loads(data)


def _last_border(data: bytes) -> int:
    """Where the last border ends; 0 when there is none."""
    plain, carriage = data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3
    return max(plain if plain > 1 else 0, carriage if carriage > 2 else 0)


def _data(raw: bytes) -> bytes:
    line = raw.strip()
    if line.startswith(b"data:") and b"\n" not in line:
        return line[5:].strip()
    return b"\n".join(line[5:].strip() for line in line.splitlines() if line.startswith(b"data:"))
