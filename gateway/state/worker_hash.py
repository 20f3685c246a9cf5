"""A hash in the store with one value per worker: each worker writes its own value and reads the others'.

    write: HSET KEY worker "VERSION MILLISECONDS value"      read: HGETALL; values older than a minute are deleted

A value replaces the previous one, so readers may read it any number of times. Values of other versions are skipped.
"""

from gateway.route.posted import Posted
from gateway.state.store_error import Execute, StoreError

EXPIRY = 60  # seconds that a worker's value stays valid without being rewritten
_LONGEST_NUMBER = 15  # digits


class WorkerHash:
    """One worker's access, as the field `me`. Times are the store's, in seconds. OSError as `execute` raises it."""

    def __init__(self, key: str, version: int, me: bytes) -> None:
        self._key = key
        self._version = b"%d" % version
        self._me = me

    async def write(self, execute: Execute, value: bytes, at: float) -> None:
        """Publishes this worker's value; it replaces the previous one."""
        await execute("HSET", self._key, self._me, b"%b %d %b" % (self._version, round(1_000 * at), value))
        await execute("EXPIRE", self._key, EXPIRY)

    async def read(self, execute: Execute, at: float) -> list[Posted[bytes]]:
        """The values of the other workers that wrote within the last minute, in the order of their names."""
        reply = await execute("HGETALL", self._key)
        if not isinstance(reply, list) or not all(isinstance(part, bytes) for part in reply):
            raise StoreError("an unexpected reply to HGETALL")
        found, stale = list[Posted[bytes]](), list[bytes]()
        for worker, entry in sorted(zip(reply[::2], reply[1::2], strict=False)):
            version, written, value = _parts(entry)
            if written is None or abs(at - written) > EXPIRY:
                stale.append(worker)
            elif version == self._version and worker != self._me:
                found.append(Posted(worker, written, max(0.0, at - written), value))
        if stale:
            await execute("HDEL", self._key, *stale)
        return found


def _parts(entry: bytes) -> tuple[bytes, float | None, bytes]:
    """Version, time in seconds and value; the time is None where it is invalid."""
    version, _, rest = entry.partition(b" ")
    written, _, value = rest.partition(b" ")
    if not written.isdigit() or len(written) > _LONGEST_NUMBER:
        return version, None, value
    return version, int(written) / 1_000, value
