"""The checks on a request before its body is read, for both sinks.

headers ──> host, origin: 403 ──> key: 401, in its handler's format ──> size: 413 ──> hosts full: 503
                                                                                       └─> admission: 503 ──> body
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.errors import HOSTS_FULL, ClientError, Overloaded, TooLarge
from gateway.server.admission import Admission
from gateway.server.connections import Connections
from gateway.server.host_check import Authority
from gateway.server.host_room import HostRoom


@dataclass(frozen=True, slots=True)
class RequestGate:
    """The checks of one configuration. `load` and `connections` are the worker's. `identify` returns the digest of the
    valid key in headers, empty if the gateway has no keys; None without a valid key. `hosts` is None on routes whose
    requests are not sent to hosts."""

    authority: Authority
    identify: Callable[[Mapping[bytes, bytes]], bytes | None]
    load: Admission
    connections: Connections
    max_body: int  # bytes
    hosts: HostRoom | None

    def enter(self, key: bytes, size: int, headers: Mapping[bytes, bytes]) -> ClientError | None:
        """The error if a request of this key with a body of `size` bytes is rejected. If None, the caller must call
        `load.leave` later."""
        if size > self.max_body:
            return TooLarge(self.max_body)
        if self.hosts is not None and self.hosts.turns_away(key, headers):
            self.load.shed("queue")
            return Overloaded(HOSTS_FULL)
        return None if self.load.enter(key, size) else Overloaded()

    def grow(self, key: bytes, size: int, more: int) -> ClientError | None:
        """The same for a body of unknown length that has grown by `more` bytes to `size` bytes."""
        if size > self.max_body:
            return TooLarge(self.max_body)
        return None if self.load.grow(key, more) else Overloaded()
