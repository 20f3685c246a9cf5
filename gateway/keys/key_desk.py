"""Creates, revokes, rotates and changes virtual keys: for the command line and for the admin API.

KeyRequest ──create──> a new secret, shown once; its record ──> Records: the store, or the state folder's file
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from time import time
from typing import Any, NamedTuple, Protocol

import msgspec

from gateway.config.key_digest import key_digest
from gateway.config.key_limits import wrong_bound
from gateway.errors import BadRequest, NotFound
from gateway.keys.key_book import REMEMBERED
from gateway.keys.key_record import FormerSecret, KeyRecord, new_secret
from gateway.keys.key_store import MOST
from gateway.types import PROBE

GRACE = 86_400.0  # seconds for which the former secret works after a rotation, if nothing else is said
LONGEST_NAME = 64  # characters, also of policies, models and groups
MOST_ALLOWED = 64  # policies, and models, of one key
LONGEST = 256  # characters of a name in messages
LONGEST_GRACE = 30 * 86_400.0
MOST_FORMER = 10  # former secrets of one key that still work


class Records(Protocol):
    """Where records are kept."""

    async def records(self) -> list[KeyRecord]: ...
    async def put(self, record: KeyRecord, seen: int) -> bool: ...
    async def forget(self, names: Iterable[str]) -> None: ...


class Choices(NamedTuple):
    """The names that a key may be given: of models, with their aliases, and of policies."""

    models: Collection[str]
    policies: Collection[str]


class KeyDesk:
    """Raises BadRequest or NotFound for a mistake of the operator, OSError without the store.

    `taken` are the tenants of gateway.yaml, `choices` what exists at the moment; without it names are not checked.
    """

    def __init__(
        self, records: Records, taken: Iterable[str] = (), choices: Callable[[], Choices] | None = None
    ) -> None:
        self._records = records
        self.take(taken, choices)

    def take(self, taken: Iterable[str], choices: Callable[[], Choices] | None) -> None:
        """From now on these are the tenants of gateway.yaml, and what exists."""
        self._taken = frozenset(taken)
        self._choices = choices

    async def listed(self) -> list[KeyRecord]:
        """Those that are not revoked, by name."""
        found = [record for record in await self._records.records() if record.revoked is None]
        return sorted(found, key=lambda record: record.name)

    async def find(self, name: str) -> KeyRecord:
        """By name or by digest."""
        for record in await self.listed():
            if name in (record.name, record.digest):
                return record
        raise NotFound(f"there is no key `{name[:LONGEST_NAME]}`", code="key_not_found")

    async def create(self, wanted: KeyRecord) -> tuple[KeyRecord, str]:
        """A key with these fields, and its secret. Its digest and its times are set here."""
        name, now = wanted.name, time()
        if name in self._taken or name == PROBE:
            raise BadRequest(f"`{name}` is a tenant of gateway.yaml or the gateway's own; choose another name")
        self._check_names({"policy": wanted.policy, "policies": wanted.policies, "models": wanted.models})
        existing = {record.name: record for record in await self._records.records()}
        await self._records.forget(_forgotten(existing.values(), now))
        before = existing.get(name)
        if before is not None and before.revoked is None:
            raise BadRequest(f"there is a key `{name}` already; revoke or rotate it", param="name")
        if len(existing) >= MOST:
            raise BadRequest(f"there are {MOST:,} keys already")
        secret = new_secret()
        seen = before.changed if before else 0
        changed = max(seen + 1, int(now * 1_000))
        record = msgspec.structs.replace(wanted, digest=key_digest(secret).hex(), created=now, changed=changed)
        await self._put(_checked(record), seen)
        return record, secret

    async def revoke(self, name: str) -> KeyRecord:
        """The key is refused from now on, the secret before a rotation included."""
        return await self._change(await self.find(name), revoked=time(), former_secrets=())

    async def rotate(self, name: str, grace: float = GRACE) -> tuple[KeyRecord, str]:
        """A new secret. The present one works for `grace` seconds more, and each earlier one until its own end; with a
        grace of 0 all of them end now."""
        if not 0 <= grace <= LONGEST_GRACE:
            raise BadRequest("the grace time must be at most 30 days", param="grace")
        record, secret, now = await self.find(name), new_secret(), time()
        working = [one for one in record.former_secrets if one.until > now]
        former = (FormerSecret(record.digest, now + grace), *working) if grace else ()
        if len(former) > MOST_FORMER:
            raise BadRequest(f"{MOST_FORMER} former secrets of this key still work; end them with a grace time of 0")
        return await self._change(record, digest=key_digest(secret).hex(), former_secrets=former), secret

    async def change(self, name: str, **fields: object) -> KeyRecord:
        """Other limits, policies, models, group or expiry. Names that are not changed may have been removed since."""
        self._check_names(fields)
        return await self._change(await self.find(name), **fields)

    async def _change(self, record: KeyRecord, **fields: object) -> KeyRecord:
        changed = max(record.changed + 1, int(time() * 1_000))
        after = _checked(msgspec.structs.replace(record, changed=changed, **fields))
        await self._put(after, record.changed)
        return after

    def _check_names(self, fields: Mapping[str, Any]) -> None:
        if self._choices is None:
            return
        models, policies = self._choices()
        default = fields.get("policy")
        for param, kind, names, known in (
            ("policy", "policy", [default] if default else (), policies),
            ("policies", "policy", fields.get("policies") or (), policies),
            ("models", "model", fields.get("models") or (), models),
        ):
            for name in names:
                if name not in known:
                    listed, several = ", ".join(sorted(known)), "models" if kind == "model" else "policies"
                    raise BadRequest(f"there is no {kind} `{name[:LONGEST]}`; known {several}: {listed}", param=param)

    async def _put(self, record: KeyRecord, seen: int) -> None:
        if not await self._records.put(record, seen):
            raise BadRequest(f"the key `{record.name}` was changed at the same time; try again", status=409)


def _checked(record: KeyRecord) -> KeyRecord:
    """Raises BadRequest for what no path can name, no terminal show, or no worker enforce."""
    if "/" in record.name:
        raise BadRequest("the name must not contain `/`: it is a part of the API's path", param="name")
    for field in ("name", "group", "policy"):
        if (name := getattr(record, field)) is not None and not _is_name(name):
            raise BadRequest(f"the {field} must have 1 to {LONGEST_NAME} printable characters", param=field)
    for field in ("policies", "models"):
        names = getattr(record, field)
        if len(names) > MOST_ALLOWED or not all(map(_is_name, names)):
            raise BadRequest(f"`{field}` must be at most {MOST_ALLOWED} names", param=field)
    if record.policy and record.policies and record.policy not in record.policies:
        raise BadRequest(f"`{record.policy}` is not among the key's policies", param="policy")
    wrong = wrong_bound(record.bounds)
    if wrong is not None:
        raise BadRequest(wrong[1], param="limits")
    return record


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()


def _forgotten(records: Iterable[KeyRecord], now: float) -> list[str]:
    """Keys that were revoked long ago."""
    return [one.name for one in records if one.revoked is not None and one.revoked < now - REMEMBERED]
