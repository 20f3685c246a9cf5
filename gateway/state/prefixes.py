"""Shares which prompt prefixes were sent to which endpoint, so that any worker finds a prompt in its host's cache.

    Fleet.sent ──> notes ──one entry──> gw:{gossip}:prefixes ──> what others sent ──> Fleet.prefixes
                                        stream

An entry holds how long ago each prompt was sent; its id is the time at which the store added it. A prompt takes 8 bytes
a hash: one of 80,000 tokens has 160, so 1.3 KB, and costs each reader 10 us.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat

import msgspec

from gateway.route.fleet import Fleet, Note
from gateway.state.store_error import Execute, StoreError

STREAM = "gw:{gossip}:prefixes"
STREAM_BYTES = 64 * 2**20  # approximate: MAXLEN is set to as many entries of the last one's size as fit
EXPIRY = 3_600  # seconds that a new worker reads back, and that an unused stream stays
NOTES = 4_096  # per model; the latest ones not published yet
ENTRY_BYTES = 64 * 1024  # approximate: a millisecond of work for each reader
PUBLISH_BYTES = 2**20  # of hashes published at a time; older notes are dropped
READ_COUNT = 16  # entries in one reply


class SentPrefix(msgspec.Struct, array_like=True):
    """One prompt on the wire: `age` in seconds when the entry was written; `hashes` 8 bytes each, little endian."""

    model: str
    endpoint: str
    age: float
    hashes: bytes


_decoder = msgspec.msgpack.Decoder(list[SentPrefix])


class Prefixes:
    """One worker's publishing and reading. `me` marks its own entries, which it skips."""

    def __init__(self, fleets: Mapping[str, Fleet], clock: Callable[[], float], me: bytes) -> None:
        self._clock = clock
        self._me = me
        self._read_to = b""  # id of the last entry read
        self._dropped = 0
        self.take(fleets)

    def __repr__(self) -> str:
        waiting = sum(len(fleet.notes or ()) for fleet in self._fleets.values())
        return f"<Prefixes {waiting} notes, {self._dropped} dropped>"

    def take(self, fleets: Mapping[str, Fleet]) -> None:
        self._fleets = fleets
        for fleet in fleets.values():
            if fleet.notes is None:
                fleet.notes = deque(maxlen=NOTES)

    async def share(self, execute: Execute, at: float) -> None:
        """Publishes what was sent, and reads what others published since. `at` is the store's time. OSError as
        `execute` raises it."""
        for entry in _entries(self._take()):
            length = max(1, STREAM_BYTES // len(entry))
            await execute("XADD", STREAM, "MAXLEN", "~", length, "*", "by", self._me, "sent", entry)
            await execute("EXPIRE", STREAM, EXPIRY)
        await self._read_others(execute, at)

    def _take(self) -> list[SentPrefix]:
        """The notes to publish, oldest first, at most PUBLISH_BYTES of hashes."""
        now, taken, size = self._clock(), list[SentPrefix](), 0
        for model, fleet in self._fleets.items():
            while fleet.notes:
                note = fleet.notes.pop()
                if size < PUBLISH_BYTES:
                    taken.append(_on_wire(model, note, now))
                    size += len(taken[-1].hashes)
                else:
                    self._dropped += 1
        return taken[::-1]

    async def _read_others(self, execute: Execute, at: float) -> None:
        self._read_to = self._read_to or b"%d-0" % max(0, round(1000 * (at - EXPIRY)))
        while entries := _read(await execute("XREAD", "COUNT", READ_COUNT, "STREAMS", STREAM, self._read_to)):
            for entry in entries:
                self._take_entry(entry, at)
                await asyncio.sleep(0)  # yield to requests
            if len(entries) < READ_COUNT:
                return

    def _take_entry(self, entry: object, at: float) -> None:
        match entry:
            case [bytes() as name, [b"by", bytes() as by, b"sent", bytes() as value]]:
                self._read_to = name
                if by != self._me:
                    self._learn(value, max(0.0, at - _seconds(name)))
            case [bytes() as name, _]:
                self._read_to = name  # of another kind
            case _:
                raise StoreError("the stream holds an invalid entry")

    def _learn(self, value: bytes, age: float) -> None:
        """`age`: seconds since the entry was written."""
        try:
            everything = _decoder.decode(value)
        except ValueError:
            return
        now = self._clock()
        for sent in everything:
            fleet, since = self._fleets.get(sent.model), age + sent.age
            if fleet is None or len(sent.hashes) % 8 or not 0 <= since < fleet.ttls.get(sent.endpoint, 0.0):
                continue
            digests = struct.unpack(f"<{len(sent.hashes) // 8}Q", sent.hashes)
            fleet.prefixes.sent(list(zip(digests, repeat(0))), sent.endpoint, now - since)


def _on_wire(model: str, note: Note, now: float) -> SentPrefix:
    prefix, endpoint, at = note
    hashes = struct.pack(f"<{len(prefix)}Q", *[digest for digest, _ in prefix])
    return SentPrefix(model, endpoint, now - at, hashes)


def _entries(notes: list[SentPrefix]) -> Iterator[bytes]:
    """The stream entries that hold these notes."""
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
    raise StoreError("an unexpected reply to XREAD")


def _seconds(name: bytes) -> float:
    """When an entry was written, on the store's clock."""
    milliseconds = name.partition(b"-")[0]
    if not milliseconds.isdigit():
        raise StoreError("an entry of the stream has no time")
    return int(milliseconds) / 1000
