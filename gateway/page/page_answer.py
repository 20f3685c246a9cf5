"""How the page's routes answer: from this origin only, cached with an ETag, compressed where that helps."""

import gzip
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

SMALL = 1_000  # bytes, below which nothing is compressed
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


def answer(request: Request, content: bytes, media_type: str, compressed: bytes | None = None) -> Response:
    """`content`, compressed if the client accepts it, or 304 if the client has it. `compressed` is the same, where it
    was compressed before."""
    etag = f'W/"{blake2b(content, digest_size=12).hexdigest()}"'
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={**HEADERS, "etag": etag})
    if len(content) >= SMALL and takes_gzip(request):
        headers = {**HEADERS, "etag": etag, "content-type": media_type, "content-encoding": "gzip"}
        return Response(compressed or compress(content), headers=headers)
    return Response(content, headers={**HEADERS, "etag": etag, "content-type": media_type})


def compress(content: bytes) -> bytes:
    return gzip.compress(content, 5, mtime=0)


def takes_gzip(request: Request) -> bool:
    wanted = [one.strip().lower().replace(" ", "") for one in request.headers.get("accept-encoding", "").split(",")]
    return any(one.partition(";")[0] in ("gzip", "*") and not one.endswith(";q=0") for one in wanted)
