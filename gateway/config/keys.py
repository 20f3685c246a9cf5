"""Secrets: the clients' keys, of which only digests are kept, and the API keys of hosts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config.key_digest import key_digest
from gateway.config.key_limits import NO_BOUNDS, Bounds
from gateway.document import INVALID, DocumentReader, Node, Place, place_at
from gateway.types.utc import unix_time

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PRINTABLE = re.compile(r"[!-~]+")  # what one word of a header may contain
NO_TIME = "write a date or time in UTC, as in `2027-01-31` or `2027-01-31T18:00`"
NO_KEY = "must be printable ASCII without spaces or line breaks; are these several keys?"


class Secrets(Mapping[str, str]):
    """API keys of hosts by their environment variable. Neither repr nor str contains a value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(f'{name}=***' for name in self._values)})"


@dataclass(frozen=True, slots=True)
class Key:
    """One client key. `digest` is the SHA-256 of the secret; the secret itself is not kept.

    `limits` are those of the tenant: keys of one tenant share them. `policies` and `models` are the only ones that the
    key may use; empty: all.
    """

    tenant: str
    digest: bytes = field(repr=False)
    policy: str | None = None  # default for requests that name no policy
    group: str | None = None
    limits: Bounds = NO_BOUNDS
    policies: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    expires: float | None = None  # unix time


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One item of `keys:`; either `key` or `key_env`."""

    tenant: str
    key: str | None = field(default=None, repr=False)
    key_env: str | None = None
    policy: str | None = None
    group: str | None = None
    limits: Bounds = NO_BOUNDS
    policies: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    expires: str | None = None


def read_key(reader: DocumentReader, node: Node, environ: Mapping[str, str]) -> Any:
    """One item of `keys:` as a Key."""
    entry = reader.record(node, KeyEntry)
    if entry is INVALID:
        return INVALID
    if (entry.key is None) == (entry.key_env is None):
        return reader.problem(node.place, f"tenant `{entry.tenant}` needs either `key_env: VARIABLE` or `key: ...`")
    if not names_variable(reader, place_at(node, "key_env"), entry.key_env):
        return INVALID
    secret = (entry.key if entry.key_env is None else environ.get(entry.key_env) or "").strip()
    if not secret:
        where = f"{entry.key_env} is not set; set it" if entry.key_env else "`key` is empty; write the secret"
        return reader.problem(node.place, f"tenant `{entry.tenant}`: {where}, or remove this entry")
    if not PRINTABLE.fullmatch(secret):
        return reader.problem(node.place, f"tenant `{entry.tenant}`: {entry.key_env or '`key`'} {NO_KEY}")
    if entry.policy and entry.policies and entry.policy not in entry.policies:
        what = f"policy: `{entry.policy}` is not among `policies`; add it there, or choose one of them"
        return reader.problem(place_at(node, "policy"), what)
    expires = None if entry.expires is None else time_of(entry.expires)
    if expires is None and entry.expires is not None:
        return reader.problem(place_at(node, "expires"), f"expires: {NO_TIME}")
    allowed = entry.policies, entry.models
    return Key(entry.tenant, key_digest(secret), entry.policy, entry.group, entry.limits, *allowed, expires)


def time_of(text: str) -> float | None:
    """A date or time of ISO 8601 in unix time, UTC where it has no offset; None if it is not valid."""
    try:
        return unix_time(text)
    except (ValueError, OverflowError):  # in UTC, it may be outside of the years 1 to 9999
        return None


def keys_from_environ(text: str, problems: list[str]) -> tuple[Key, ...]:
    """Keys of `tenant:secret,tenant2:secret2`; a bare secret belongs to tenant `key-N`, N being its position."""
    keys = []
    for position, item in enumerate(text.split(","), 1):
        if not item.strip():
            continue  # a trailing comma
        named = item if ":" in item else f"key-{position}:{item}"
        tenant, secret = (part.strip() for part in named.split(":", 1))
        if secret and not PRINTABLE.fullmatch(secret):
            problems.append(f"GATEWAY_API_KEYS: item {position} {NO_KEY}")
        elif tenant and secret:
            keys.append(Key(tenant, key_digest(secret)))
        else:
            problems.append(f"GATEWAY_API_KEYS: item {position} lacks its tenant or secret; write tenant:secret")
    return tuple(keys)


def admin_from_environ(text: str, problems: list[str]) -> bytes | None:
    """The digest of the admin key; None where it is unset or empty."""
    secret = text.strip()
    if secret and not PRINTABLE.fullmatch(secret):
        problems.append("GATEWAY_ADMIN_KEY: must be printable ASCII without spaces or line breaks")
    return key_digest(secret) if secret else None


def names_variable(reader: DocumentReader, place: Place, name: str | None) -> bool:
    """Whether a `..._env` field is unset or a valid variable name. Its text is not quoted: it may be the key itself."""
    if name is None or VARIABLE.fullmatch(name):
        return True
    reader.problem(place, "expected the name of an environment variable, as in `NOVITA_API_KEY`; not the key itself")
    return False
