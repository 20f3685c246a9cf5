"""Closes the model page and the metrics, if an admin key is set. Without one they are open, and the key management API
is closed.

    GET /metrics ──> Authorization: Bearer KEY, or Basic with KEY as the password ──> route
                └──> anything else ──> 401 with `WWW-Authenticate: Basic`, on which a browser asks for the password

A browser repeats the password for all requests of the page by itself, event streams included, and for those that other
web pages make it send. So keys are managed with a bearer token only. Clients' keys do not open these routes, and the
admin key opens no others.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest

from gateway.errors import ClientError, Forbidden, Unauthorized

KEYS = "/api/v1/keys"  # closed without an admin key
PAGES = frozenset({"/", "/metrics"})
BELOW = ("/models/", "/page/")
_CHALLENGE = (b"www-authenticate", b'Basic realm="gateway", charset="UTF-8"')


class AdminKeyMissing(Unauthorized):
    """The route needs the admin key, and the request does not have it."""

    code = "admin_key_required"

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), _CHALLENGE]


class AdminGate:
    """`digest` is the SHA-256 of the admin key; None leaves all routes open but key management."""

    __slots__ = ("_digest",)

    def __init__(self, digest: bytes | None) -> None:
        self._digest = digest

    def __repr__(self) -> str:
        return f"<AdminGate {'open' if self._digest is None else 'closed'}>"

    def refusal(self, path: str, headers: Mapping[bytes, bytes]) -> ClientError | None:
        """The error if this request may not read `path`, which has no empty segments."""
        managed = path == KEYS or path.startswith(f"{KEYS}/")
        if self._digest is None and managed:
            return Forbidden("keys are managed with the admin key; set GATEWAY_ADMIN_KEY", code="admin_key_not_set")
        if self._digest is None or not (managed or path in PAGES or path.startswith(BELOW)):
            return None
        if compare_digest(sha256(_secret(headers, basic=not managed)).digest(), self._digest):
            return None
        password = "" if managed else ", or as the password of any user"
        return AdminKeyMissing(f"this route needs the admin key: as a bearer token{password}")


def _secret(headers: Mapping[bytes, bytes], *, basic: bool) -> bytes:
    """The bearer token of a request, or where that counts the Basic password; empty without a valid one."""
    scheme, _, value = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic" or not basic:
        return b""
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2]
    except NotBase64:
        return b""
