"""How the page's routes answer: from this origin only, never cached without a question, compressed where that helps."""

import gzip

from starlette.requests import Request
from starlette.responses import Response

SMALL = 1_000  # bytes, below which nothing is compressed
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


def answer(request: Request, content: bytes, media_type: str) -> Response:
    """`content`, compressed if the client accepts it."""
    if len(content) >= SMALL and takes_gzip(request):
        return compressed_answer(compress(content), media_type)
    return Response(content, headers={**HEADERS, "content-type": media_type})


def compressed_answer(compressed: bytes, media_type: str) -> Response:
    return Response(compressed, headers={**HEADERS, "content-type": media_type, "content-encoding": "gzip"})


def compress(content: bytes) -> bytes:
    return gzip.compress(content, 5, mtime=0)


def takes_gzip(request: Request) -> bool:
    wanted = [one.strip().lower().replace(" ", "") for one in request.headers.get("accept-encoding", "").split(",")]
    return any(one.partition(";")[0] in ("gzip", "*") and not one.endswith(";q=0") for one in wanted)
