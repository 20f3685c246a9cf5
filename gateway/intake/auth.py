"""Who asks: the key is the tenant."""

from collections.abc import Mapping
from hashlib import sha256

from starlette.requests import Request

from gateway.config import Key
from gateway.errors import Unauthorized

LOCAL = Key("local", b"")  # whoever asks a gateway that has no keys


class Keys:
    """Keys by the digest of their secret: looking one up takes the same time whether or not it is nearly right."""

    __slots__ = ("_by_digest", "_found", "_headers")

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._by_digest = {key.digest: key for key in keys}
        self._headers: Mapping[bytes, bytes] = {}  # of the last lookup
        self._found: Key | None = None  # its key

    def of(self, headers: Mapping[bytes, bytes]) -> Key:
        """The key that these headers carry, as OpenAI's or Anthropic's clients send it. Raises Unauthorized."""
        if not self._by_digest:
            return LOCAL
        key = self._key(headers)
        if key is not None:
            return key
        if _secret(headers):
            raise Unauthorized("the API key is not one of this gateway's")
        raise Unauthorized("no API key: send one as `Authorization: Bearer KEY`", code="missing_api_key")

    def know(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether `of` would find a key."""
        return not self._by_digest or self._key(headers) is not None

    def caller(self, request: Request) -> Key:
        """The same for a request that Starlette has read."""
        return self.of(dict(request.headers.raw))

    def _key(self, headers: Mapping[bytes, bytes]) -> Key | None:
        """The key of these headers. A request is looked up before its body and after it, mostly with none between."""
        if headers is not self._headers:
            self._headers = headers
            self._found = self._by_digest.get(sha256(_secret(headers)).digest())
        return self._found


def _secret(headers: Mapping[bytes, bytes]) -> bytes:
    """The bearer's; where there is none, or an empty one, that of `x-api-key`."""
    scheme, _, secret = headers.get(b"authorization", b"").strip().partition(b" ")
    bearer = secret.strip() if scheme.lower() == b"bearer" else b""
    return bearer or headers.get(b"x-api-key", b"").strip()
