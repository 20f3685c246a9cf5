"""Server-sent events as hosts send them, cut at event borders.

A read from the socket usually holds whole events: then its bytes pass through as they are. What is left of an event
waits for the next read; a client could not use it earlier anyway. Lines may end in LF, CRLF or CR; here they get LF.
"""

from collections.abc import Iterator
from typing import Any

import orjson

LONGEST_EVENT = 8 * 1024 * 1024
DONE = b"[DONE]"
COMMENT = b": keep-alive\n\n"  # for a client, in place of a host's event that brings it nothing
LF, CR = b"\n\r"  # as numbers: `in` finds a number in bytes far sooner than a byte string
_BORDER = b"\n\n"  # the end of a line, and a blank line


class TooLong(ValueError):
    """An event that does not end: not SSE, or not for us."""


class Splitter:
    """Gives back whole events, keeps the rest."""

    __slots__ = ("_carriage", "_rest", "_size")

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._carriage = False  # whether the last read ended in CR, which an LF may follow

    def feed(self, data: bytes) -> bytes:
        """All events that are complete; empty when none is. Raises TooLong."""
        if self._carriage or CR in data:
            data = self._with_line_feeds(data)
        if not self._rest and data.endswith(_BORDER):
            return data  # the usual read
        border = self._last_border(data)
        if border <= 0:
            self._keep(data)
            return b""
        whole = b"".join((*self._rest, data[:border])) if self._rest else data[:border]
        self._rest.clear()
        self._size = 0
        if border < len(data):
            self._keep(data[border:])
        return whole

    @property
    def partial(self) -> bool:
        """Whether something of an event is kept."""
        return self._size > 0 or self._carriage

    def rest(self) -> bytes:
        """What came after the last border; a last event that the host did not end with a blank line."""
        return b"".join(self._rest)

    def _last_border(self, data: bytes) -> int:
        """Where in `data` the last border ends; 0 when there is none."""
        border = data.rfind(_BORDER)
        if border >= 0:
            return border + len(_BORDER)
        return 1 if self._rest and data.startswith(b"\n") and self._rest[-1].endswith(b"\n") else 0

    def _keep(self, data: bytes) -> None:
        if data:
            self._rest.append(data)
        self._size += len(data)
        if self._size > LONGEST_EVENT:
            raise TooLong(f"an event of more than {LONGEST_EVENT} bytes")

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._carriage and data.startswith(b"\n"):
            data = data[1:]
        self._carriage = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def split(block: bytes) -> list[bytes]:
    """The events in `block`, whose lines end in LF, without their blank lines."""
    return [event for event in map(bytes.strip, block.split(_BORDER)) if event]


def events(block: bytes) -> Iterator[bytes]:
    """The data of each of them; empty for comments."""
    return map(data_of, split(block))


def event(data: bytes) -> bytes:
    """One event with this data, which holds no line break."""
    return b"data: " + data + _BORDER


def payloads(block: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of all events in `block`, without comments and [DONE]."""
    for data in events(block):
        if data and data != DONE:
            yield orjson.loads(data)


def data_of(event: bytes) -> bytes:
    """The data of one event, as `split` gives it."""
    if event.startswith(b"data:") and LF not in event:
        return event[5:].strip()
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
