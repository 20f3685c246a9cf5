"""One HTTP request, read to its end, whichever server took it."""

from collections.abc import Callable, Iterable

import msgspec

from gateway.proxy.sink import Sink


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """Header names are lower case; of repeated ones the last counts. `received` is on the monotonic clock."""

    headers: dict[bytes, bytes]
    body: bytes
    received: float


Handler = Callable[[Inbound, Sink], None]


def promised(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The length of the body in bytes, where the client tells it, else 0. Servers have checked that it is a number."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0
