"""Which prompt prefixes the other workers sent where, so that any worker finds a prompt in its host's cache.

    Fleet.sent ──> notes ──one entry──> gw:prefixes ──> what others sent ──> Fleet.prefixes
                                        stream

An entry holds how long ago each prompt was sent; its id says when the store took it. A prompt takes 8 bytes a hash: one
of 80,000 tokens has 160, so 1.3 KB, and costs each reader 10 us.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat

import msgspec

from gateway.route.fleet import Fleet, Note
from gateway.state.resp import Ask, StoreError

STREAM = "gw:prefixes"
STREAM_BYTES = 64 * 2**20  # about: so many entries are kept as have room, if all were like the last
KEPT = 3_600  # seconds that a newcomer looks back, and that an unused stream stays
NOTES = 4_096  # the last that wait to be told, of each model
ENTRY_BYTES = 64 * 1024  # about: a millisecond of work for each reader
TELL_BYTES = 2**20  # of hashes told at a time; older notes are dropped
READ_COUNT = 16  # entries in one reply


class SentPrefix(msgspec.Struct, array_like=True):
    """One prompt on the wire: `age` in seconds when the entry was written; `hashes` 8 bytes each, little endian."""

    model: str
    endpoint: str
    age: float
    hashes: bytes


_decoder = msgspec.msgpack.Decoder(list[SentPrefix])


class Prefixes:
    """What one worker tells and hears. `me` is in its own entries, which are not read back."""

    def __init__(self, fleets: Mapping[str, Fleet], clock: Callable[[], float], me: bytes) -> None:
        self._fleets = fleets
        self._clock = clock
        self._me = me
        self._read_to = b""  # id of the last entry seen
        self._dropped = 0
        for fleet in fleets.values():
            fleet.notes = deque(maxlen=NOTES)

    def __repr__(self) -> str:
        waiting = sum(len(fleet.notes or ()) for fleet in self._fleets.values())
        return f"<Prefixes {waiting} notes, {self._dropped} dropped>"

    async def share(self, ask: Ask, at: float) -> None:
        """Tell what was sent, take in what others told since. `at` is the store's time. OSError as `ask` raises it."""
        for entry in _entries(self._take()):
            length = max(1, STREAM_BYTES // len(entry))
            await ask("XADD", STREAM, "MAXLEN", "~", length, "*", "by", self._me, "sent", entry)
            await ask("EXPIRE", STREAM, KEPT)
        await self._listen(ask, at)

    def _take(self) -> list[SentPrefix]:
        """What waits to be told, oldest first, and not more than may be told at once."""
        now, taken, size = self._clock(), list[SentPrefix](), 0
        for model, fleet in self._fleets.items():
            while fleet.notes:
                note = fleet.notes.pop()
                if size < TELL_BYTES:
                    taken.append(_told(model, note, now))
                    size += len(taken[-1].hashes)
                else:
                    self._dropped += 1
        return taken[::-1]

    async def _listen(self, ask: Ask, at: float) -> None:
        self._read_to = self._read_to or b"%d-0" % max(0, round(1000 * (at - KEPT)))
        while entries := _read(await ask("XREAD", "COUNT", READ_COUNT, "STREAMS", STREAM, self._read_to)):
            for entry in entries:
                self._hear(entry, at)
                await asyncio.sleep(0)  # requests go first
            if len(entries) < READ_COUNT:
                return

    def _hear(self, entry: object, at: float) -> None:
        match entry:
            case [bytes() as name, [b"by", bytes() as by, b"sent", bytes() as told]]:
                self._read_to = name
                if by != self._me:
                    self._learn(told, max(0.0, at - _seconds(name)))
            case [bytes() as name, _]:
                self._read_to = name  # of another kind
            case _:
                raise StoreError("what the stream holds are no entries")

    def _learn(self, told: bytes, age: float) -> None:
        """`age`: seconds since the entry was written."""
        try:
            everything = _decoder.decode(told)
        except msgspec.MsgspecError:
            return
        now = self._clock()
        for sent in everything:
            fleet, since = self._fleets.get(sent.model), age + sent.age
            if fleet is None or len(sent.hashes) % 8 or not 0 <= since < fleet.ttls.get(sent.endpoint, 0.0):
                continue
            digests = struct.unpack(f"<{len(sent.hashes) // 8}Q", sent.hashes)
            fleet.prefixes.sent(list(zip(digests, repeat(0))), sent.endpoint, now - since)


def _told(model: str, note: Note, now: float) -> SentPrefix:
    prefix, endpoint, at = note
    hashes = struct.pack(f"<{len(prefix)}Q", *[digest for digest, _ in prefix])
    return SentPrefix(model, endpoint, now - at, hashes)


def _entries(notes: list[SentPrefix]) -> Iterator[bytes]:
    """The stream's entries that hold these notes."""
    batch, size = list[SentPrefix](), 0
    for sent in notes:
        batch.append(sent)
        size += len(sent.hashes)
        if size >= ENTRY_BYTES:
            yield msgspec.msgpack.encode(batch)
            batch, size = [], 0
    if batch:
        yield msgspec.msgpack.encode(batch)


def _read(reply: object) -> list[object]:
    """The entries in a reply to XREAD of one stream."""
    match reply:
        case None:
            return []
        case [[_, [*entries]]]:
            return entries
    raise StoreError("what answers XREAD is no store")


def _seconds(name: bytes) -> float:
    """When an entry was written, on the store's clock."""
    milliseconds = name.partition(b"-")[0]
    if not milliseconds.isdigit():
        raise StoreError("an entry of the stream has no time")
    return int(milliseconds) / 1000
