"""A hash in the store where each worker keeps one value: it writes its own, and reads those of the others.

    write: HSET KEY worker "VERSION MILLISECONDS value"      read: HGETALL, and what is a minute old is removed

A value replaces the one before it, so it may be read as often as one likes. What was written by another version is left
for those who can read it.
"""

from gateway.route.posted import Posted
from gateway.state.resp import Ask, StoreError

KEPT = 60  # seconds that a worker's value is used without being written again
_LONGEST_NUMBER = 15  # digits


class Board:
    """One worker's access, under its name `me`. Times are the store's, in seconds. OSError as `ask` raises it."""

    def __init__(self, key: str, version: int, me: bytes) -> None:
        self._key = key
        self._version = b"%d" % version
        self._me = me

    async def write(self, ask: Ask, value: bytes, at: float) -> None:
        """Publishes this worker's value, in place of the one before."""
        await ask("HSET", self._key, self._me, b"%b %d %b" % (self._version, round(1_000 * at), value))
        await ask("EXPIRE", self._key, KEPT)

    async def read(self, ask: Ask, at: float) -> list[Posted[bytes]]:
        """The value of each other worker that wrote within the last minute, in the order of their names."""
        reply = await ask("HGETALL", self._key)
        if not isinstance(reply, list) or not all(isinstance(part, bytes) for part in reply):
            raise StoreError("what answers HGETALL is no store")
        found, stale = list[Posted[bytes]](), list[bytes]()
        for worker, entry in sorted(zip(reply[::2], reply[1::2], strict=False)):
            version, written, value = _parts(entry)
            if written is None or abs(at - written) > KEPT:
                stale.append(worker)
            elif version == self._version and worker != self._me:
                found.append(Posted(worker, written, max(0.0, at - written), value))
        if stale:
            await ask("HDEL", self._key, *stale)
        return found


def _parts(entry: bytes) -> tuple[bytes, float | None, bytes]:
    """Version, time in seconds and value; no time where it has none."""
    version, _, rest = entry.partition(b" ")
    written, _, value = rest.partition(b" ")
    if not written.isdigit() or len(written) > _LONGEST_NUMBER:
        return version, None, value
    return version, int(written) / 1_000, value
