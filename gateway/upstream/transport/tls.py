"""What hosts are trusted over TLS, and what lets a later connection to the same host skip half of the handshake.

    first connection ── full handshake ── answer ──> remember(host, session)
    later ones       <── wrap_bio(session) ── the host accepts its own ticket, or shakes hands in full

asyncio and uvloop pass no session along, but both ask the context to wrap each connection: there it is added.
"""

import ssl
from pathlib import Path

MOST = 256  # hosts whose session is kept


class Trust(ssl.SSLContext):
    """A client's context: certificates and host names are checked, with the system's authorities or `authorities`."""

    _sessions: dict[str, ssl.SSLSession]

    def __new__(cls, authorities: Path | None = None) -> "Trust":
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made._sessions = {}
        return made

    def __init__(self, authorities: Path | None = None) -> None:
        super().__init__()
        if authorities is None:
            self.load_default_certs()
        else:
            self.load_verify_locations(authorities)

    def remember(self, host: str, session: ssl.SSLSession | None) -> None:
        """Keeps what a connection to `host` ended up with. Its ticket comes with, or after, the first answer."""
        if session is None:
            return
        self._sessions.pop(host, None)
        self._sessions[host] = session
        if len(self._sessions) > MOST:
            del self._sessions[next(iter(self._sessions))]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        known = session or self._sessions.get(str(server_hostname))
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, known)

    def __repr__(self) -> str:
        return f"<Trust, {len(self._sessions)} sessions>"
