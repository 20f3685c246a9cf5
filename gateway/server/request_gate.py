"""The checks on a request before its body is read, for both sinks.

headers ──> host, origin: 403 ──> key: 401, in its handler's format ──> size: 413 ──> admission: 503 ──> body
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.errors import ClientError, Overloaded, TooLarge
from gateway.server.admission import Admission
from gateway.server.connections import Connections
from gateway.server.host_check import Authority

GATE = "gate"  # key in the lifespan state


@dataclass(frozen=True, slots=True)
class RequestGate:
    """The checks of one worker. `knows` returns whether headers have a valid key, or the gateway has no keys."""

    authority: Authority
    knows: Callable[[Mapping[bytes, bytes]], bool]
    load: Admission
    connections: Connections
    max_body: int  # bytes

    def enter(self, size: int) -> ClientError | None:
        """The error if a request with a body of `size` bytes is rejected. If None, the caller must call `load.leave`
        later."""
        if size > self.max_body:
            return TooLarge(self.max_body)
        return None if self.load.enter(size) else Overloaded()

    def grow(self, size: int, more: int) -> ClientError | None:
        """The same for a body of unknown length that has grown by `more` bytes to `size` bytes."""
        if size > self.max_body:
            return TooLarge(self.max_body)
        return None if self.load.grow(more) else Overloaded()
