"""Decompresses response bodies as they arrive. The gateway sends no `Accept-Encoding` for them, but some hosts and
proxies compress anyway.

    content-encoding: deflate, gzip      compressed bytes -> gunzip -> inflate -> body, in steps of at most STEP bytes

An event that the host flushed is decompressed at once. A body that grows too much is refused, and so is a coding that
Python's standard library cannot read. A plain body whose header says gzip (some proxies decompress and leave the
header) passes unchanged.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator

STEP = 8 * 1024  # most bytes of one step
FREE = 1024 * 1024  # decompressed bytes that are always allowed
RATIO = 100  # largest ratio of decompressed to compressed bytes beyond that; repetitive events reach 50
LARGEST = 256 * 1024 * 1024  # decompressed bytes of one answer
DEEPEST = 3  # most codings of one body
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP_STARTS = b"\x1f\x8b"


class UnreadableBody(ValueError):
    """A body that cannot be decompressed, or grows too much."""


class Unpacker:
    """Undoes one coding. `whole` says whether the bytes so far are a complete body."""

    __slots__ = ("_choose", "_inflate", "_name", "_out", "_packed", "_plain", "_start", "whole")

    def __init__(self, name: str, choose: Callable[[bytes], int | None]) -> None:
        """`choose` takes a body's first two bytes and returns zlib's window bits, or None where the body is not
        compressed."""
        self._name = name
        self._choose = choose
        self._start = b""  # the first byte, until the second arrives
        self._inflate: zlib._Decompress | None = None
        self._plain = False
        self._packed = self._out = 0  # bytes
        self.whole = True

    def __repr__(self) -> str:
        return f"<Unpacker {self._name} {self._packed} -> {self._out}>"

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Decompresses `data` in steps, some of them empty. Raises UnreadableBody."""
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
            full = len(out) == STEP and not self._inflate.eof  # zlib may hold more output
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
    """What undoes the content codings of an answer's headers; None where they name none. Raises UnreadableBody."""
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
    """`deflate` is defined as the zlib format; some servers leave out its header."""
    return _ZLIB if start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0 else _RAW


_CODINGS: dict[str, Callable[[bytes], int | None]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
