"""Client authentication: a key identifies the tenant."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from time import time

from starlette.requests import Request

from gateway.config import Key
from gateway.errors import Unauthorized

LOCAL = Key("local", b"")  # every client of a gateway without keys


MOST_SEEN = 1024  # spellings of valid keys

_Sent = tuple[bytes | None, bytes | None]  # the values of `authorization` and `x-api-key`


class Keys:
    """Keys by the digest of their secret, so that the time of a lookup reveals nothing about a secret.

    What clients with a valid key sent is kept, because a digest takes as long as all other checks on the headers."""

    __slots__ = ("_by_digest", "_refused", "_required", "_seen")

    def __init__(
        self, keys: Iterable[Key], required: bool = False, refused: Callable[[str], None] = lambda reason: None
    ) -> None:
        """`required`: clients need a key even while there is none. `refused` is called with the reason for each 401."""
        self._refused = refused
        self._seen: dict[_Sent, Key] = {}
        self.replace(keys, required)

    def replace(self, keys: Iterable[Key], required: bool = False) -> None:
        """Other keys, from the next request on."""
        self._by_digest = {key.digest: key for key in keys}
        self._required = required or bool(self._by_digest)
        self._seen.clear()

    def of(self, headers: Mapping[bytes, bytes]) -> Key:
        """The key in these headers, as OpenAI's or Anthropic's clients send it. Raises Unauthorized."""
        if not self._required:
            return LOCAL
        key = self._key(headers)
        if key is not None:
            if key.expires is not None and key.expires <= time():
                self._refused("expired")
                raise Unauthorized("the API key has expired", code="expired_api_key")
            return key
        if _secret(headers):
            self._refused("invalid")
            raise Unauthorized("the API key is not one of this gateway's")
        self._refused("missing")
        raise Unauthorized("no API key; send one as `Authorization: Bearer KEY`", code="missing_api_key")

    def identify(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """The digest of the key that `of` would return, empty for a gateway without keys; None where it would raise."""
        if not self._required:
            return LOCAL.digest
        key = self._key(headers)
        return None if key is None or (key.expires is not None and key.expires <= time()) else key.digest

    def tenant_of(self, digest: bytes) -> str:
        """The tenant of the key that `identify` found."""
        key = self._by_digest.get(digest)
        return LOCAL.tenant if key is None else key.tenant

    def caller(self, request: Request) -> Key:
        """The same for a Starlette request."""
        return self.of(dict(request.headers.raw))

    def _key(self, headers: Mapping[bytes, bytes]) -> Key | None:
        sent = headers.get(b"authorization"), headers.get(b"x-api-key")
        key = self._seen.get(sent)
        if key is None and (key := self._by_digest.get(sha256(_secret(headers)).digest())) is not None:
            if len(self._seen) >= MOST_SEEN:
                del self._seen[next(iter(self._seen))]  # the oldest
            self._seen[sent] = key
        return key


def _secret(headers: Mapping[bytes, bytes]) -> bytes:
    """The bearer token or, if it is missing or empty, `x-api-key`."""
    scheme, _, secret = headers.get(b"authorization", b"").strip().partition(b" ")
    bearer = secret.strip() if scheme.lower() == b"bearer" else b""
    return bearer or headers.get(b"x-api-key", b"").strip()
