"""One HTTP request, read completely, and the sink of its response, for any server.

    server ── Inbound, Sink ──> Handler ──> Proxy      Proxy ── start write end abort ──> Sink
                                                       Sink ── pause resume gone ──> Source

The ASGI sink works with every server; a sink in the HTTP connection itself may serve hot routes.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

Headers = list[tuple[bytes, bytes]]
HeadWriter = Callable[[Mapping[bytes, bytes], Headers], Headers]  # a request's, a response's -> all of the response's


class Source(Protocol):
    """Fills a sink, and is notified about its client."""

    def pause(self) -> None:
        """The client is slower than the host: stop reading from the host."""

    def resume(self) -> None: ...

    def gone(self) -> None:
        """The client closed its connection."""


class Sink(Protocol):
    """One response to one client. Calls never block and never raise; nothing may follow `end` or `abort`."""

    def start(self, status: int, headers: Headers) -> None: ...
    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None:
        """Closes the connection at once and drops unsent data. The source is not notified."""

    def moves_on(self) -> bool:
        """No host has answered: returns whether the sink provides another answer."""

    def attach(self, source: Source) -> None:
        """From now on the source is notified of pause, resume and gone (immediately, if the client has left)."""


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """Header names are in lower case; of repeated ones the last counts. `received` is on the monotonic clock."""

    headers: dict[bytes, bytes]
    body: bytes
    received: float


Handler = Callable[[Inbound, Sink], None]


def content_length(headers: Mapping[bytes, bytes]) -> int:
    """The declared length of the body in bytes; 0 if absent. The server has checked that it is one number."""
    return int(headers.get(b"content-length", b"0"))
