"""One HTTP request, read to its end, and where its answer goes, whichever server took it.

    server ── Inbound, Sink ──> Handler ──> Proxy      Proxy ── start write end abort ──> Sink
                                                       Sink ── pause resume gone ──> Source

The ASGI sink serves every server; a sink in the HTTP connection itself may serve hot routes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

Headers = list[tuple[bytes, bytes]]
HeadWriter = Callable[[Mapping[bytes, bytes], Headers], Headers]  # a request's, an answer's -> all of the answer's


class Source(Protocol):
    """What fills a sink, and listens to its client."""

    def pause(self) -> None:
        """The client is slower than the host: stop reading from the host."""

    def resume(self) -> None: ...

    def gone(self) -> None:
        """The client left."""


class Sink(Protocol):
    """One response to one client. Calls never block and never raise; after `end` or `abort` nothing follows."""

    def start(self, status: int, headers: Headers) -> None: ...
    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None:
        """Closes the connection at once, without what still waits to be taken. The source hears nothing of it."""

    def moves_on(self) -> bool:
        """No host has answered: whether the sink sees to another answer."""

    def attach(self, source: Source) -> None:
        """From here on the source hears of pause, resume and a client that leaves (at once, if it has left)."""


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """Header names are lower case; of repeated ones the last counts. `received` is on the monotonic clock."""

    headers: dict[bytes, bytes]
    body: bytes
    received: float


Handler = Callable[[Inbound, Sink], None]


def content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The declared length of the body in bytes; 0 if absent. Servers have checked that it is a number."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0
