"""What a store says when it fails, with the reason in words.

    ErrorReply("MOVED 3999 10.0.0.2:6379") -> "MOVED 3999 10.0.0.2:6379 (the server is a node of a Cluster: ...)"

Messages go to logs and to `/health/ready`, so they hold no secret: some servers repeat the arguments of a command that
they do not know, such as those of AUTH, and these are cut off.
"""

from collections.abc import Awaitable, Callable

Command = tuple[bytes | str | int, ...]
Execute = Callable[..., Awaitable[object]]  # a command's parts -> the reply. Raises OSError

ASKING: Command = ("ASKING",)  # before a command that ASK sends elsewhere
MOVED, ASK, TRYAGAIN, READONLY, NOSCRIPT = "MOVED", "ASK", "TRYAGAIN", "READONLY", "NOSCRIPT"
WORDS = {
    "ASK": "the slot moves to another node of the Cluster",
    "BUSY": "a script runs in the store for too long",
    "CLUSTERDOWN": "the Cluster has no master for some slots: it may be failing over",
    "CROSSSLOT": "the server is a node of a Cluster: write redis+cluster:// in the store's URL",
    "LOADING": "the store loads its data after a start",
    "MASTERDOWN": "the server is a replica that has lost its master",
    "MISCONF": "the store cannot save to its disk",
    "MOVED": "the server is a node of a Cluster: write redis+cluster:// in the store's URL",
    "NOAUTH": "the store requires a user or password: write them in the store's URL",
    "NOPERM": "the store's user has too few rights: docs/configuration.md has those that are needed",
    "NOREPLICAS": "the master has fewer replicas than it needs to take writes",
    "OOM": "the store's memory is full",
    "READONLY": "the server is a replica: name the master, or the Sentinels by redis+sentinel://",
    "TRYAGAIN": "the slot moves to another node of the Cluster",
    "WRONGPASS": "the user or the password in the store's URL is wrong",
}
_ARGUMENTS = ", with args beginning with"  # what follows repeats the command


class StoreError(ConnectionError):
    """The server is not a Redis, rejects a command, or closed the connection."""


class ErrorReply(StoreError):
    """An error reply. `code` is its first word, `details` the rest."""

    def __init__(self, reply: str) -> None:
        reply = reply.partition(_ARGUMENTS)[0]
        self.code, _, self.details = reply.partition(" ")
        words = WORDS.get(self.code)
        super().__init__(f"{reply} ({words})" if words else reply)

    def of(self, command: Command) -> "ErrorReply":
        """This reply, with the command's name in its message."""
        self.args = (f"the store rejected {command[0]!s}: {self}",)
        return self
