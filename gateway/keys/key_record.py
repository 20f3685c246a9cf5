"""A virtual key as it is kept: its digest, never its secret."""

import secrets
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from gateway.config import Bounds, Key

PREFIX = "sk-gw-"


class FormerSecret(NamedTuple):
    """A secret before a rotation: its SHA-256 in hex, and until when it works (unix time)."""

    digest: str
    until: float


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """`digest` is SHA-256 in hex. `changed` is in ms and grows with each change; other times are in unix time. Each of
    the `former_secrets` works until its own end, whatever comes later. A revoked key stays as a record for a while, so
    that no older copy brings it back."""

    name: str
    digest: str
    created: float
    changed: int
    policy: str | None = None
    policies: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    group: str | None = None
    expires: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None
    disabled: bool = False
    former_secrets: tuple[FormerSecret, ...] = ()  # the last one first
    revoked: float | None = None

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.requests_per_minute, self.tokens_per_minute, self.usd_per_day, self.usd_per_month)

    def accepted(self) -> Iterator[Key]:
        """The secrets that work, as they are looked up; each has its expiry."""
        if self.revoked is not None or self.disabled:
            return
        yield self._key(self.digest, self.expires)
        for former in self.former_secrets:
            ends = former.until if self.expires is None else min(former.until, self.expires)
            yield self._key(former.digest, ends)

    def _key(self, digest: str, expires: float | None) -> Key:
        allowed = self.policies, self.models
        return Key(self.name, bytes.fromhex(digest), self.policy, self.group, self.bounds, *allowed, expires)


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


encoded = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(KeyRecord)
_list_decoder = msgspec.json.Decoder(list[KeyRecord])


def decoded(data: bytes) -> KeyRecord | None:
    """None for a record that this version cannot read."""
    try:
        return _decoder.decode(data)
    except ValueError:
        return None


def decoded_list(data: bytes) -> list[KeyRecord]:
    """Raises ValueError for data that are not a list of records."""
    return _list_decoder.decode(data)
