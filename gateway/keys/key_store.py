"""The virtual keys in the store, shared by all workers and replicas.

gw:{keys}:records    a hash: name -> `KeyRecord` in JSON         no expiry; at most MOST records
gw:{keys}:version    a new random text after each change         no expiry; workers read it every second
"""

import secrets
from collections.abc import Iterable

from gateway.keys.key_record import KeyRecord, decoded, encoded
from gateway.state.link import Link
from gateway.state.store_error import StoreError
from gateway.state.store_script import StoreScript

RECORDS, VERSION = "gw:{keys}:records", "gw:{keys}:version"
MOST = 10_000

# ARGV: name, record, the `changed` that the caller has seen (0: no record), the new version.
_PUT = StoreScript("""
local before = redis.call('HGET', KEYS[1], ARGV[1])
if (before and cjson.decode(before)['changed'] or 0) ~= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[4])
return 1
""")
# ARGV: the new version, then name, record and `changed` of each: written where the store has none, or an older one.
_RESTORE = StoreScript("""
for i = 2, #ARGV, 3 do
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if not before or cjson.decode(before)['changed'] < tonumber(ARGV[i + 2]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
""")


class KeyStore:
    """One process' access. Every call raises OSError without the store."""

    def __init__(self, url: str) -> None:
        self.link = Link(url, "keys", "the last known keys stay, the store fails")

    def __repr__(self) -> str:
        return f"<KeyStore {self.link!r}>"

    async def version(self) -> bytes | None:
        """Other than before after each change; None if the store has no keys."""
        reply = await self.link.execute("GET", VERSION)
        return reply if isinstance(reply, bytes) else None

    async def records(self) -> list[KeyRecord]:
        reply = await self.link.execute("HVALS", RECORDS)
        if not isinstance(reply, list):
            raise StoreError("an unexpected reply to HVALS")
        found = (decoded(data) for data in reply if isinstance(data, bytes))
        return [record for record in found if record is not None]

    async def put(self, record: KeyRecord, seen: int) -> bool:
        """Writes a record whose `changed` was `seen`; False if it has changed since."""
        arguments = record.name, encoded(record), seen, secrets.token_hex(8)
        return await self.link.run(_PUT, (RECORDS, VERSION), arguments) == 1

    async def restore(self, records: Iterable[KeyRecord]) -> None:
        """Writes records that the store has lost."""
        arguments: list[bytes | str | int] = [secrets.token_hex(8)]
        for record in records:
            arguments += (record.name, encoded(record), record.changed)
        await self.link.run(_RESTORE, (RECORDS, VERSION), arguments)

    async def forget(self, names: Iterable[str]) -> None:
        await self.link.execute_all([("HDEL", RECORDS, name) for name in names])

    def close(self) -> None:
        self.link.close()
