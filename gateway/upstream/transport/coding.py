"""Compressed bodies, unpacked as they come. We ask for none, but hosts and proxies between send them all the same.

    content-encoding: deflate, gzip      packed bytes -> gunzip -> inflate -> the body, in steps of at most STEP bytes

An event that the host flushed is unpacked at once. What grows too much is refused, and so is a coding that Python's
standard library does not read. A body that is plain although its header says gzip (proxies unpack and leave the header)
passes as it is.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator

STEP = 8 * 1024  # bytes that one step gives at most
FREE = 1024 * 1024  # unpacked bytes that may come of anything
RATIO = 100  # how much larger than packed a body may be beyond that; repetitive events reach 50
LARGEST = 256 * 1024 * 1024  # unpacked bytes of one answer
DEEPEST = 3  # codings of one body
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP_STARTS = b"\x1f\x8b"


class UnreadableBody(ValueError):
    """A body that cannot be unpacked, or should not be."""


class Unpacker:
    """Undoes one coding. `whole` says whether what came so far is a complete body."""

    __slots__ = ("_choose", "_inflate", "_name", "_out", "_packed", "_plain", "_start", "whole")

    def __init__(self, name: str, choose: Callable[[bytes], int | None]) -> None:
        """`choose` looks at a body's first two bytes: zlib's window bits, or None where it is not packed at all."""
        self._name = name
        self._choose = choose
        self._start = b""  # the first byte, while it is alone
        self._inflate: zlib._Decompress | None = None
        self._plain = False
        self._packed = self._out = 0  # bytes
        self.whole = True

    def __repr__(self) -> str:
        return f"<Unpacker {self._name} {self._packed} -> {self._out}>"

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """What these bytes give, in steps, some of them empty. Raises Unreadable."""
        self._packed += len(data)
        if self._inflate is None and not self._plain:
            self._start = data = self._start + data
            if len(data) < 2:
                self.whole = not data
                return
            self._begin(data)
        if self._plain:
            self.whole = True
            yield from (data[place : place + STEP] for place in range(0, len(data), STEP))
        else:
            yield from self._inflated(data)

    def _begin(self, start: bytes) -> None:
        bits = self._choose(start)
        self._plain = bits is None
        self._start = b""
        if bits is not None:
            self._inflate = zlib.decompressobj(bits)

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        full = False
        while data or full:
            assert self._inflate is not None
            if self._inflate.eof:
                if self._name == "deflate" or not data.startswith(_GZIP_STARTS[:1]):  # padding
                    return
                self._inflate = zlib.decompressobj(_GZIP)  # gzip may have several members
            out = self._step(self._inflate, data)
            self.whole = self._inflate.eof
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            full = len(out) == STEP and not self._inflate.eof  # zlib may keep some of it
            yield out

    def _step(self, inflate: "zlib._Decompress", data: bytes) -> bytes:
        try:
            out = inflate.decompress(data, STEP)
        except zlib.error as error:
            raise UnreadableBody(f"the host's answer is not in its content-encoding {self._name}: {error}") from None
        self._out += len(out)
        if self._out > FREE and (self._out > RATIO * self._packed or self._out > LARGEST):
            raise UnreadableBody(f"the host's answer grows from {self._packed} to over {self._out} bytes, unpacked")
        return out


class Chain:
    """Undoes several codings, the one that was applied last first."""

    __slots__ = ("_links",)

    def __init__(self, links: list[Unpacker]) -> None:
        self._links = links

    def __repr__(self) -> str:
        return f"<Chain {self._links}>"

    @property
    def whole(self) -> bool:
        return all(link.whole for link in self._links)

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """As `Unpacker.unpack`."""
        steps: Iterator[bytes] = iter((data,))
        for link in self._links:
            steps = _through(link, steps)
        return steps


def unpacker(headers: Iterable[tuple[bytes, bytes]]) -> Chain | None:
    """What undoes the content codings that an answer's head names; None where it names none. Raises Unreadable."""
    values = [value.decode("latin-1") for name, value in headers if name == b"content-encoding"]
    names = [name for part in ",".join(values).split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(names) > DEEPEST:
        raise UnreadableBody(f"the host sent an answer with {len(names)} content-encodings")
    for name in names:
        if name not in _CODINGS:
            raise UnreadableBody(f"the host sent content-encoding {name[:32]}, which the gateway does not read")
    return Chain([Unpacker(name, _CODINGS[name]) for name in reversed(names)]) if names else None


def _through(link: Unpacker, steps: Iterator[bytes]) -> Iterator[bytes]:
    for step in steps:
        yield from link.unpack(step)


def _gzip(start: bytes) -> int | None:
    return _GZIP if start.startswith(_GZIP_STARTS) else None


def _deflate(start: bytes) -> int | None:
    """By its name zlib's format; some servers leave out its head."""
    return _ZLIB if start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0 else _RAW


_CODINGS: dict[str, Callable[[bytes], int | None]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
