"""Gets and writes of the store, from the call until their reply."""

from collections.abc import Callable

from gateway.state.store_error import Command

Then = Callable[[bytes | None], None]


class Get:
    """A get without a reply. `then` is None once called."""

    __slots__ = ("asking", "command", "deadline", "hops", "then")

    def __init__(self, command: Command, then: Then, deadline: float) -> None:
        self.command = command
        self.then: Then | None = then
        self.deadline = deadline
        self.asking = False
        self.hops = 0


class Put:
    """A write that is not confirmed. `ttl` in seconds."""

    __slots__ = ("asking", "hops", "key", "ttl", "value")

    def __init__(self, key: bytes, value: bytes, ttl: float) -> None:
        self.key = key
        self.value = value
        self.ttl = ttl
        self.asking = False
        self.hops = 0

    @property
    def command(self) -> Command:
        return (b"SET", self.key, self.value, *expiry(self.ttl))


def expiry(ttl: float) -> Command:
    """The option of a command for an expiry in `ttl` seconds."""
    return b"PX", max(1, int(ttl * 1000))
