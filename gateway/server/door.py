"""What a request has to pass before its body is read, over either sink.

head ──> name, page? 403 ──> key? 401, in its handler's words ──> short enough? 413 ──> room? 503 ──> body
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.errors import ClientError, Overloaded, TooLarge
from gateway.server.admission import Admission
from gateway.server.authority import Authority
from gateway.server.connections import Connections

DOOR = "door"  # key of the lifespan's state


@dataclass(frozen=True, slots=True)
class Door:
    """One worker's. `knows` tells whether headers carry one of the gateway's keys, where it has keys."""

    authority: Authority
    knows: Callable[[Mapping[bytes, bytes]], bool]
    load: Admission
    connections: Connections
    max_body: int  # bytes

    def enter(self, size: int) -> ClientError | None:
        """Why a body of so many bytes is not read; None where it is, and its request has to leave the load."""
        if size > self.max_body:
            return TooLarge(self.max_body)
        return None if self.load.enter(size) else Overloaded()

    def grow(self, size: int, more: int) -> ClientError | None:
        """The same for a body whose length was not known, and that has now so many bytes, `more` of them new."""
        if size > self.max_body:
            return TooLarge(self.max_body)
        return None if self.load.grow(more) else Overloaded()
