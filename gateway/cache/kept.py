"""Responses that clients refer to later, kept so that they need not send their conversation again.

    answer ────keep───> store: (tenant, response) -> the response, its input, the names of those before it
    `previous_response_id` ──conversation──> all of them, oldest first: two round trips, however many they are
    `item_reference` ────────named─────────> the responses whose items are meant

An entry lives for an hour from its last use, as reasoning does (`cache.reasoning`). Writes are soon and silent. Reads
have a connection of their own and five seconds: a client that refers to something cannot be answered without it, and a
store that is away must not look like an empty one.
"""

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, cast

import orjson
from hiredis import ReplyError

from gateway.cache.reasoning_vault import TTL
from gateway.state.link import ANSWER_WITHIN, Link
from gateway.state.resp import StoreError
from gateway.state.store import Store

PREFIX = b"gw:resp:"
LARGEST = 8 * 1024 * 1024  # bytes of a conversation, which is read as a whole
AGAIN = 0.1  # seconds after which what is not there is looked for once more: its write may be on its way
_READ = "local all = {} for i, key in ipairs(KEYS) do all[i] = redis.call('GETEX', key, 'PX', ARGV[1]) end return all"
Json = dict[str, Any]


class Kept(NamedTuple):
    """One response, with the items that were its own input. `earlier` names the responses before it, oldest first;
    `size` is that of all of them together, in bytes."""

    response: Json
    input: list[Json]
    earlier: Sequence[str] = ()
    size: int = 0

    @property
    def name(self) -> str:
        return str(self.response["id"])

    def items(self) -> list[Json]:
        return [*self.input, *self.response["output"]]


class KeptResponses:
    """Responses by tenant and name, in a store that replicas share. Reads raise OSError when it cannot be asked."""

    __slots__ = ("_link", "_store", "_turn", "_within")

    def __init__(self, store: Store, url: str, within: float = ANSWER_WITHIN) -> None:
        self._store = store
        self._link = Link(url, "kept responses", "earlier responses cannot be read")
        self._turn = asyncio.Lock()
        self._within = within

    def __repr__(self) -> str:
        return f"<KeptResponses in {self._store!r}>"

    @property
    def up(self) -> bool:
        """Whether what is kept now will most likely be there."""
        return self._store.healthy

    def close(self) -> None:
        self._link.close()

    def keep(self, tenant: str, one: Kept) -> None:
        """Keeps a response, soon and silently; not one whose conversation is too large."""
        record = {"response": one.response, "input": one.input, "earlier": one.earlier, "size": one.size}
        try:
            value = orjson.dumps(record)
        except orjson.JSONEncodeError:  # nested too deeply to be written again
            return
        if one.size + len(value) <= LARGEST:
            self._store.put(_key(tenant, one.name), value, TTL)

    async def conversation(self, tenant: str, name: str) -> list[Kept]:
        """The response of this name and all before it, oldest first; empty where any of them is not there any more."""
        found = await self.named(tenant, [name])
        if name not in found:
            return []
        earlier = found[name].earlier
        before = await self.named(tenant, earlier) if earlier else {}
        return [*before.values(), found[name]] if len(before) == len(earlier) else []

    async def named(self, tenant: str, names: Iterable[str]) -> dict[str, Kept]:
        """Those of these names that are there, in their order."""
        keys = {name: _key(tenant, name) for name in names}
        values = await self._read(list(keys.values()))
        if None in values:
            await asyncio.sleep(AGAIN)
            values = await self._read(list(keys.values()))
        return {name: _kept(value) for name, value in zip(keys, values, strict=True) if value is not None}

    async def forget(self, tenant: str, name: str) -> bool:
        """Whether there was such a response."""
        return await self._ask(b"DEL", _key(tenant, name)) == 1

    async def _read(self, keys: list[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        reply = await self._ask("EVAL", _READ, len(keys), *keys, int(TTL * 1000))
        return [value if isinstance(value, bytes) else None for value in cast(list[object], reply)]

    async def _ask(self, *command: bytes | str | int) -> object:
        async with asyncio.timeout(self._within), self._turn:
            reply = await self._link.ask(*command)
        if isinstance(reply, ReplyError):
            raise StoreError(f"the store refuses {command[0]!s}: {reply}")
        return reply


def _key(tenant: str, name: str) -> bytes:
    return PREFIX + sha256(orjson.dumps([tenant, name])).hexdigest().encode()


def _kept(value: bytes) -> Kept:
    record = orjson.loads(value)
    return Kept(record["response"], record["input"], tuple(record["earlier"]), record["size"] + len(value))
