"""Compressed request bodies: `Content-Encoding: gzip`, `deflate`, and `zstd` where Python has it, from 3.14 on.

    body, codings ──last one first, each at most `limit` bytes──> decompressed body

Decompression stops with a 413 at the limit, so that a small body cannot exhaust the memory.
"""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from gateway.errors import BadRequest, TooLarge, UnknownCoding

MOST_CODINGS = 2  # applied in sequence
MOST_FRAMES = 16  # concatenated: some tools write several
_ZSTD_WINDOW = 23  # log2 of bytes: RFC 9659's limit for HTTP
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's `wbits`


class Decoder(Protocol):
    """One compressed frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _zstd() -> tuple[type[Exception], dict[str, Callable[[], Decoder]]]:
    """zstd's exception type and decoder, or no decoder if Python has none."""
    try:
        module: Any = import_module("compression.zstd")
    except ImportError:
        return zlib.error, {}
    options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
    return module.ZstdError, {"zstd": partial(module.ZstdDecompressor, options=options)}


_ZSTD_ERROR, _ZSTD = _zstd()
_DECODERS: Mapping[str, Callable[[], Decoder]] = {
    "gzip": partial(zlib.decompressobj, _GZIP),
    "x-gzip": partial(zlib.decompressobj, _GZIP),
    "deflate": partial(zlib.decompressobj, _ZLIB),
    **_ZSTD,
}
TAKEN = ("gzip", "deflate", *_ZSTD)


def unpacked(body: bytes, codings: bytes, limit: int) -> bytes:
    """Decompresses `body` according to `Content-Encoding`. Raises UnknownCoding, TooLarge, BadRequest."""
    names = [name.strip().lower() for name in codings.decode("latin-1").split(",")]
    names = [name for name in names if name not in ("", "identity")]
    for name in names:
        if name not in _DECODERS:
            raise UnknownCoding(name[:60], TAKEN)
    if len(names) > MOST_CODINGS:
        raise _wrong(f"has more than {MOST_CODINGS} codings")
    for name in reversed(names):
        body = _decoded(body, name, limit)
    return body


def _decoded(data: bytes, name: str, limit: int) -> bytes:
    make = _DECODERS[name]
    if name == "deflate" and not _has_zlib_head(data):
        make = partial(zlib.decompressobj, _RAW)  # some clients send raw deflate
    parts: list[bytes] = []
    room = limit
    for _ in range(MOST_FRAMES):
        decoder = make()
        try:
            part = decoder.decompress(data, room + 1)
        except (zlib.error, _ZSTD_ERROR):
            raise _wrong(f"is {name}, but the body is not") from None
        parts.append(part)
        room -= len(part)
        if room < 0:
            raise TooLarge(limit)
        if not decoder.eof:
            raise _wrong(f"is {name}, but the body is truncated")
        data = decoder.unused_data.lstrip(b"\0")  # zero padding after the last frame
        if not data:
            return b"".join(parts)
    raise _wrong(f"is {name}, but the body has more than {MOST_FRAMES} frames")


def _has_zlib_head(data: bytes) -> bool:
    """Whether the data has the zlib header of RFC 1950: the method in the first byte, both bytes divisible by 31."""
    return len(data) > 1 and data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0


def _wrong(what: str) -> BadRequest:
    return BadRequest(f"content-encoding {what}", param="content-encoding")
