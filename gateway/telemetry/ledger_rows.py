"""Every row of the ledger, each once: those on this machine's disk, then those that only the store has.

    segments ──────────────────────────────> rows in their order
    gw:{books}:rows ──> without those above ──> rows of other machines, and of segments that were deleted

The store's stream is read twice: first for the ids, of which a digest of 8 bytes is remembered, so that a row that is
in both is not read twice. Memory is bounded by the length of the stream (64 MB, some 90,000 rows).
"""

from collections.abc import AsyncIterator, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import cast

from gateway.state.link import Link
from gateway.telemetry.ledger import parse, read
from gateway.telemetry.shipping_script import STREAM
from gateway.types import Row

PAGE = 4  # stream entries in one reply: a megabyte


async def ledger_rows(folder: Path, url: str | None) -> AsyncIterator[Row]:
    """All rows; without `url` those on disk only. Raises OSError when the store cannot be reached."""
    if url is None:
        for row in read(folder):
            yield row
        return
    link = Link(url, "ledger", "the store cannot be reached")
    try:
        only_stored: set[bytes] = set()
        newest = b"-"
        async for entry, row in _stored(link, "+"):
            newest = entry
            only_stored.add(_digest(row))
        for row in read(folder):
            only_stored.discard(_digest(row))
            yield row
        async for _, row in _stored(link, newest):
            if (digest := _digest(row)) in only_stored:
                only_stored.remove(digest)
                yield row
    finally:
        link.close()


async def _stored(link: Link, last: bytes | str) -> AsyncIterator[tuple[bytes, Row]]:
    """The rows of the stream up to the entry `last`, each with its entry."""
    first: bytes = b"-"
    while True:
        reply = await link.execute("XRANGE", STREAM, first, last, "COUNT", PAGE)
        entries = cast(list[tuple[bytes, list[bytes]]], reply if isinstance(reply, list) else [])
        for entry, fields in entries:
            for row in _rows(fields[1]):
                yield entry, row
        if len(entries) < PAGE:
            return
        first = b"(" + entries[-1][0]


def _rows(lines: bytes) -> Iterator[Row]:
    return (row for line in lines.splitlines() if (row := parse(line)) is not None)


def _digest(row: Row) -> bytes:
    return blake2b(row.id.encode(), digest_size=8).digest()
