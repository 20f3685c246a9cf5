"""The TLS client context: which certificates are trusted, and session resumption per host.

    first connection ── full handshake ── answer ──> remember(host, session)
    later ones       <── wrap_bio(session) ── the host accepts its ticket, or performs a full handshake

asyncio and uvloop do not pass a session, but both call `wrap_bio` for each connection: the session is added there.
"""

import ssl
from pathlib import Path
from typing import Self

MOST = 256  # hosts whose session is kept


class Trust(ssl.SSLContext):
    """A client context that always checks certificates and host names: against the system's authorities, and those of
    the file `ca_file` where one is given. `client_cert` is a file with a certificate and its key.

    Raises OSError where a file cannot be used.
    """

    _sessions: dict[str, ssl.SSLSession]

    def __new__(cls, ca_file: Path | None = None, client_cert: Path | None = None) -> Self:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made._sessions = {}
        return made

    def __init__(self, ca_file: Path | None = None, client_cert: Path | None = None) -> None:
        super().__init__()
        self.load_default_certs()
        if ca_file is not None:
            self.load_verify_locations(ca_file)
        if client_cert is not None:
            self.load_cert_chain(client_cert, password=lambda: "")  # else OpenSSL asks the terminal

    def remember(self, host: str, session: ssl.SSLSession | None) -> None:
        """Keeps the session of a connection to `host`. Its ticket arrives with, or after, the first answer."""
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
