"""A store of one server: every key is on it."""

from gateway.config.store_address import StoreAddress
from gateway.state.store_connection import Opener, StoreConnection
from gateway.state.store_error import Command, ErrorReply
from gateway.state.topology import Redirect, probe


class OneServer:
    """See `Topology`. The server is named "" always."""

    SERVER = ""

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._opener = Opener(address)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address}>"

    def servers(self) -> frozenset[str]:
        return frozenset((self.SERVER,))

    def owner(self, key: bytes) -> str:
        return self.SERVER

    async def load(self) -> None:
        """There is nothing to be found."""

    async def open(self, server: str) -> StoreConnection:
        return await self._opener.open(self._address.hosts[0] if self._address.hosts else None)

    async def redirect(self, reply: ErrorReply, server: str) -> Redirect | None:
        return None

    def probe(self, server: str, key: bytes = b"") -> Command:
        """With keys of two slots, which a node of a Cluster rejects."""
        return probe(b"gw:probe:1", b"gw:probe:2")
