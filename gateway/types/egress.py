"""The way out to a host: the proxy in between, and the certificates of TLS.

gateway.yaml `proxy:`, `ca_file:`, `client_cert:` ──┐
HTTPS_PROXY, NO_PROXY, ... ─────────────────────────┴──> fields of the endpoint
"""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote


class ProxyAddress(NamedTuple):
    """An HTTP proxy and its login. `str` and `repr` are safe for logs: they leave out user and password."""

    scheme: str  # http | https
    host: str  # a name or an IP address
    port: int
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self._authority()}"

    def __repr__(self) -> str:
        return f"ProxyAddress({self})"

    def with_login(self) -> str:
        """The URL with the percent-encoded user and password, for libraries that take one. Secret."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{self.scheme}://{login}{self._authority()}"

    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DIRECT = ProxyAddress("direct", "", 0)  # in gateway.yaml: no proxy, whatever the environment says


class PemFile(NamedTuple):
    """A file of certificates in PEM. `digest` is the SHA-256 of its content, so that a changed file differs."""

    path: Path
    digest: str
