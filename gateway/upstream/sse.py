"""Splits a host's server-sent events at event boundaries.

A read from the socket usually holds whole events: its bytes then pass unchanged. The start of an unfinished event waits
for the next read; a client could not use it earlier. Hosts may end lines in LF, CRLF or CR; the output has LF.
"""

from collections.abc import Iterator
from typing import Any

import orjson

LONGEST_EVENT = 8 * 1024 * 1024
DONE = b"[DONE]"
COMMENT = b": keep-alive\n\n"  # sent to a client in place of a host's event without content
LF, CR = b"\n\r"  # as integers: `int in bytes` is much faster than `bytes in bytes`
_BOUNDARY = b"\n\n"  # end of a line, then a blank line


class TooLong(ValueError):
    """An event of more than LONGEST_EVENT bytes."""


class Splitter:
    """Returns whole events, keeps the unfinished rest."""

    __slots__ = ("_carriage", "_rest", "_size", "partial")

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self.partial = False  # whether a part of an event is kept
        self._carriage = False  # the last read ended in CR, so an LF that follows belongs to it

    def feed(self, data: bytes) -> bytes:
        """All events that are complete; empty when none is. Raises TooLong."""
        if self._carriage or CR in data:
            data = self._with_line_feeds(data)
        if not self._rest and data.endswith(_BOUNDARY):
            return data  # the usual read
        boundary = self._last_boundary(data)
        if boundary <= 0:
            self._keep(data)
            return b""
        whole = b"".join((*self._rest, data[:boundary])) if self._rest else data[:boundary]
        self._rest.clear()
        self._size = 0
        self.partial = self._carriage
        if boundary < len(data):
            self._keep(data[boundary:])
        return whole

    def rest(self) -> bytes:
        """The bytes after the last boundary: a last event without a blank line after it."""
        return b"".join(self._rest)

    def _last_boundary(self, data: bytes) -> int:
        """Where in `data` the last boundary ends; 0 when there is none."""
        boundary = data.rfind(_BOUNDARY)
        if boundary >= 0:
            return boundary + len(_BOUNDARY)
        return 1 if self._rest and data.startswith(b"\n") and self._rest[-1].endswith(b"\n") else 0

    def _keep(self, data: bytes) -> None:
        if data:
            self._rest.append(data)
        self._size += len(data)
        self.partial = self._carriage or self._size > 0
        if self._size > LONGEST_EVENT:
            raise TooLong(f"an event of more than {LONGEST_EVENT} bytes")

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._carriage and data.startswith(b"\n"):
            data = data[1:]
        self._carriage = data.endswith(b"\r")
        self.partial = self._carriage or self._size > 0
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def split(block: bytes) -> list[bytes]:
    """The events in `block`, whose lines end in LF, without their blank lines."""
    return [event for event in map(bytes.strip, block.split(_BOUNDARY)) if event]


def events(block: bytes) -> Iterator[bytes]:
    """The data of each event; empty for comments."""
    return map(data_of, split(block))


def event(data: bytes) -> bytes:
    """One event with this data, which holds no line break."""
    return b"data: " + data + _BOUNDARY


def payloads(block: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of all events in `block`, without comments and [DONE]."""
    for data in events(block):
        if data and data != DONE:
            yield orjson.loads(data)


def data_of(event: bytes) -> bytes:
    """The data of one event, as `split` returns it."""
    if event.startswith(b"data:") and LF not in event:
        return event[5:].strip()
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
