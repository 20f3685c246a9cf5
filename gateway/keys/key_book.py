"""All keys of this gateway: those of gateway.yaml, and virtual ones, which every worker follows in the store.

    gateway.yaml ──────────────────────────┐
    state folder ── at the start ──> KeyBook ──on a change──> apply(keys, required)
    store ── every second, merged ─────────┘ └──> state folder; the store, where it has lost records

Of two records of one name the one that was changed last counts, so a revocation stays, whatever is lost or restored.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import time

from gateway.config import Key
from gateway.keys.key_file import KeyFile
from gateway.keys.key_record import KeyRecord
from gateway.keys.key_store import KeyStore
from gateway.state.conditions import Conditions
from gateway.state.link import repeat

LONGEST_WAIT = 4.0  # seconds between attempts while the store is down
REMEMBERED = 90 * 86_400.0  # seconds for which a revoked key is remembered


class KeyBook:
    """`required`: clients need a key even while there is none. Raises ConfigError if the state folder's file is
    unreadable."""

    def __init__(
        self,
        keys: tuple[Key, ...],
        required: bool,
        store: KeyStore,
        file: KeyFile,
        apply: Callable[[list[Key], bool], None],
        conditions: Conditions,
    ) -> None:
        self._own = keys
        self._own_required = required
        self._store = store
        self._file = file
        self._apply = apply
        self._conditions = conditions
        self._records = {record.name: record for record in file.read()}
        self.accepted: list[Key] = []  # of gateway.yaml, and virtual ones
        self._version: bytes | None = None
        self._one_at_a_time = asyncio.Lock()  # over the store's connection
        self._changed()

    def __repr__(self) -> str:
        return f"<KeyBook {len(self._own)} keys of gateway.yaml, {len(self._records)} virtual ones>"

    @property
    def required(self) -> bool:
        """Whether clients need a key."""
        return self.requires(self._own, self._own_required)

    def requires(self, keys: tuple[Key, ...], required: bool) -> bool:
        """The same with these in gateway.yaml."""
        return required or bool(keys or self._records)

    @property
    def records(self) -> list[KeyRecord]:
        """The virtual keys, revoked ones included."""
        return list(self._records.values())

    def replace(self, keys: tuple[Key, ...], required: bool) -> None:
        """Other keys in gateway.yaml."""
        self._own, self._own_required = keys, required
        self._changed()

    def has(self, tenant: str) -> bool:
        """Whether a key of gateway.yaml has this name."""
        return any(key.tenant == tenant for key in self._own)

    async def run(self) -> None:
        """Follows the store until cancelled."""
        await repeat(self.follow, LONGEST_WAIT)

    async def follow(self) -> bool:
        """Reads what has changed; False if the store could not be reached."""
        async with self._one_at_a_time:
            return await self._store.link.attempt(self._follow)

    def close(self) -> None:
        self._store.close()

    async def _follow(self) -> None:
        version = await self._store.version()
        if version == self._version and (version is not None or not self._records):
            return
        stored = {record.name: record for record in await self._store.records()}
        lost = [one for one in self._records.values() if self._is_lost(one, stored.get(one.name))]
        if lost:
            await self._store.restore(lost)
        self._version = None if lost else version  # what was restored is read back
        if stored.items() <= self._records.items():
            return
        self._merge(stored)
        with self._conditions.noted("keys"):
            self._file.write(self._records.values())
        self._changed()

    def _merge(self, stored: Mapping[str, KeyRecord]) -> None:
        """The later change of each; what the store has forgotten is forgotten here, too."""
        for record in stored.values():
            known = self._records.get(record.name)
            if known is None or record.changed > known.changed:
                self._records[record.name] = record
        self._records = {name: one for name, one in self._records.items() if name in stored or self._is_lost(one, None)}

    def _is_lost(self, known: KeyRecord, stored: KeyRecord | None) -> bool:
        if known.revoked is not None and known.revoked < time() - REMEMBERED:
            return False
        return stored is None or stored.changed < known.changed

    def _changed(self) -> None:
        names = {key.tenant for key in self._own}
        virtual = [key for record in self._records.values() if record.name not in names for key in record.accepted()]
        self.accepted = [*self._own, *virtual]
        self._apply(self.accepted, self.required)
