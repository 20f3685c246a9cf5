"""Cross-origin resource sharing: the setting `cors` lists the origins of web pages that may call the gateway.

    OPTIONS with an Origin ──preflight──> 204, no key needed          any response ──headers──> readable by the page

Keys are sent in `Authorization`, never in cookies, so credentials are not allowed and `*` is safe with keys.
"""

from collections.abc import Mapping

from gateway.types.sink import Headers

ANY = "*"
EXPOSED = (
    *("x-request-id", "x-generation-id", "request-id", "retry-after", "accept-encoding", "x-should-retry"),
    *("x-gateway-endpoint", "x-gateway-policy", "x-gateway-attempts", "x-gateway-cache", "x-gateway-plan"),
    *("x-openrouter-cache-status", "x-openrouter-cache-age"),
)  # not `*`: some browsers do not support it here
MAX_AGE = 7_200  # seconds that a browser may cache a preflight response; Chromium's maximum
_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
_VARY = (b"vary", b"origin")


class Cors:
    """The allowed origins of one gateway. Without any, no CORS headers are added."""

    __slots__ = ("_any", "_origins")

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def __repr__(self) -> str:
        return f"<Cors {sorted(self._origins)}>"

    def headers(self, request_headers: Mapping[bytes, bytes]) -> Headers:
        """The CORS headers of a response to a request with these headers."""
        allowed = self._allowed(request_headers)
        return [*self._vary(), *([(b"access-control-allow-origin", allowed), _EXPOSED] if allowed else ())]

    def preflight(self, request_headers: Mapping[bytes, bytes]) -> Headers | None:
        """The headers of the response to a preflight; None if it is not a preflight or the origin is not allowed."""
        allowed = self._allowed(request_headers)
        if allowed is None or b"access-control-request-method" not in request_headers:
            return None
        return [
            *self._vary(),
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
            (b"access-control-allow-headers", request_headers.get(b"access-control-request-headers", b"authorization")),
            (b"access-control-max-age", b"%d" % MAX_AGE),
        ]

    def _allowed(self, request_headers: Mapping[bytes, bytes]) -> bytes | None:
        origin = request_headers.get(b"origin")
        if origin is None or not (self._any or origin.lower() in self._origins):
            return None
        return ANY.encode() if self._any else origin

    def _vary(self) -> Headers:
        return [] if self._any else [_VARY]
