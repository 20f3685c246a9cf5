"""Stores responses for an hour, so that clients can refer to them instead of sending the conversation again.

    response ────────keep────────────────> store: (tenant, response id) -> the response, its input, the ids before it
    `previous_response_id` ──conversation──> all of them, oldest first, in at most two round trips
    `item_reference` ────────by_ids────────> the responses that hold these items

An entry expires an hour after its last use, as reasoning does (`cache.reasoning_vault`). Writes are asynchronous and
never fail a request. Reads have a connection of their own and a timeout of five seconds: the request cannot be answered
without the stored response, and an unreachable store must not look like an empty one.
"""

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from gateway.cache.reasoning_vault import TTL
from gateway.state.link import REPLY_WITHIN, Link
from gateway.state.store import Store
from gateway.state.store_error import Command

PREFIX = b"gw:resp:"
LARGEST = 8 * 1024 * 1024  # bytes of a conversation, which is read as a whole
READ_AGAIN_AFTER = 0.1  # seconds before a missing entry is read once more: its write may be on its way
Json = dict[str, Any]


class StoredResponse(NamedTuple):
    """One response with the items that were its own input. `earlier` holds the ids of the responses before it, oldest
    first; `size` is the total of the conversation in bytes."""

    response: Json
    input: list[Json]
    earlier: Sequence[str] = ()
    size: int = 0

    @property
    def name(self) -> str:
        return str(self.response["id"])

    def items(self) -> list[Json]:
        return [*self.input, *self.response["output"]]


class StoredResponses:
    """Responses by tenant and id, in a store that replicas share. Reads raise OSError when the store cannot be
    reached."""

    __slots__ = ("_link", "_lock", "_store", "_within")

    def __init__(self, store: Store, url: str, within: float = REPLY_WITHIN) -> None:
        self._store = store
        self._link = Link(url, "kept responses", "earlier responses cannot be read")
        self._lock = asyncio.Lock()
        self._within = within

    def __repr__(self) -> str:
        return f"<StoredResponses in {self._store!r}>"

    @property
    def up(self) -> bool:
        """Whether writes currently succeed."""
        return self._store.healthy

    def close(self) -> None:
        self._link.close()

    def keep(self, tenant: str, one: StoredResponse) -> None:
        """Stores a response asynchronously, unless its conversation is larger than LARGEST."""
        record = {"response": one.response, "input": one.input, "earlier": one.earlier, "size": one.size}
        try:
            value = orjson.dumps(record)
        except orjson.JSONEncodeError:  # nested too deeply to be serialised again
            return
        if one.size + len(value) <= LARGEST:
            self._store.put(_key(tenant, one.name), value, TTL)

    async def conversation(self, tenant: str, name: str) -> list[StoredResponse]:
        """The response with this id and all before it, oldest first; empty where any of them has expired."""
        found = await self.by_ids(tenant, [name])
        if name not in found:
            return []
        earlier = found[name].earlier
        before = await self.by_ids(tenant, earlier) if earlier else {}
        return [*before.values(), found[name]] if len(before) == len(earlier) else []

    async def by_ids(self, tenant: str, names: Iterable[str]) -> dict[str, StoredResponse]:
        """The stored responses with these ids, in their order."""
        keys = {name: _key(tenant, name) for name in names}
        values = await self._read(list(keys.values()))
        if None in values:
            await asyncio.sleep(READ_AGAIN_AFTER)
            values = await self._read(list(keys.values()))
        return {name: _decoded(value) for name, value in zip(keys, values, strict=True) if value is not None}

    async def forget(self, tenant: str, name: str) -> bool:
        """Deletes a response; returns whether there was one."""
        return await self._execute([(b"DEL", _key(tenant, name))]) == [1]

    async def _read(self, keys: list[bytes]) -> list[bytes | None]:
        replies = await self._execute([(b"GETEX", key, b"PX", int(TTL * 1000)) for key in keys])
        return [value if isinstance(value, bytes) else None for value in replies]

    async def _execute(self, commands: list[Command]) -> list[object]:
        async with asyncio.timeout(self._within), self._lock:
            return await self._link.execute_all(commands)


def _key(tenant: str, name: str) -> bytes:
    return PREFIX + sha256(orjson.dumps([tenant, name])).hexdigest().encode()


def _decoded(value: bytes) -> StoredResponse:
    record = orjson.loads(value)
    return StoredResponse(record["response"], record["input"], tuple(record["earlier"]), record["size"] + len(value))
