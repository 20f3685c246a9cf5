"""One HTTP request, read to its end, whichever server took it."""

from collections.abc import Callable
from typing import NamedTuple

from gateway.proxy.sink import Sink


class Inbound(NamedTuple):
    """Header names are lower case; of repeated ones the last counts. `received` is on the monotonic clock."""

    headers: dict[bytes, bytes]
    body: bytes
    received: float


Handler = Callable[[Inbound, Sink], None]
