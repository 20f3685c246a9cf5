"""Which server of a store has a key, how to connect to it, and whether it takes writes.

OneServer | SentinelMaster | Cluster, as `topologies.find` has them by a store's URL
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.state.store_error import Command, ErrorReply, StoreError

if TYPE_CHECKING:
    from gateway.state.store_connection import StoreConnection


class Redirect(NamedTuple):
    """Where a Cluster redirects a command to; `asking`: it is sent right after ASKING."""

    server: str
    asking: bool


class Topology(Protocol):
    """A server is named `host:port`."""

    def servers(self) -> frozenset[str]:
        """All that have keys of their own."""
        ...

    def owner(self, key: bytes) -> str | None:
        """The server that has this key; None where no server is known to have it."""
        ...

    async def load(self) -> None:
        """Finds the servers, again after a failure. Raises OSError."""
        ...

    async def open(self, server: str) -> "StoreConnection":
        """A connection after login. Raises OSError."""
        ...

    async def redirect(self, reply: ErrorReply, server: str) -> Redirect | None:
        """Where to send a command again that `server` gave this reply to; None where the reply is final."""
        ...

    def probe(self, server: str, key: bytes = b"") -> Command | None:
        """A command that writes as the gateway does, and leaves nothing behind: to a server, or where `key` is. None
        where the server has no keys. `probed` reads the reply."""
        ...


def probe(*keys: bytes) -> Command:
    """A command that sets and deletes these keys."""
    return ("EVAL", _PROBE, len(keys), *keys)


# A server that replies to PING may reject writes: when it is full, a replica, part of a Cluster, or short of disk.
_PROBE = (
    "for _, key in ipairs(KEYS) do redis.call('SET', key, '', 'PX', 1000) end return redis.call('DEL', unpack(KEYS))"
)


def probed(command: Command, reply: object) -> StoreError | None:
    """What a reply to a probe says is wrong, if anything."""
    if isinstance(reply, ErrorReply):
        error = reply.of(command)
        if reply.details.startswith("unknown command"):
            return StoreError(f"{error} (the server may be a Sentinel: write redis+sentinel:// in the store's URL)")
        return error
    return None if reply == command[2] else StoreError("an unexpected reply to EVAL")
