"""Cross-origin resource sharing: which web pages may call the gateway, as the setting `cors` lists them.

    OPTIONS with an Origin ──preflight──> 204, without a key          any answer ──headers──> what the page may read

Keys go in `Authorization`, never in cookies, so credentials are not allowed and `*` is safe beside keys.
"""

from collections.abc import Mapping

from gateway.types.sink import Headers

ANY = "*"
EXPOSED = (
    *("x-request-id", "x-generation-id", "request-id", "retry-after", "accept-encoding", "x-should-retry"),
    *("x-gateway-endpoint", "x-gateway-policy", "x-gateway-attempts", "x-gateway-cache", "x-gateway-plan"),
    *("x-openrouter-cache-status", "x-openrouter-cache-age"),
)  # a `*` would not do: some browsers do not know it
REMEMBERED = 7_200  # seconds that a browser may remember a preflight; none remembers it longer
_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
_VARY = (b"vary", b"origin")


class Cors:
    """The origins of one gateway; without any, no answer has a header of these."""

    __slots__ = ("_any", "_origins")

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def __repr__(self) -> str:
        return f"<Cors {sorted(self._origins)}>"

    def headers(self, asked: Mapping[bytes, bytes]) -> Headers:
        """What an answer to a request with these headers has."""
        allowed = self._allowed(asked)
        return [*self._vary(), *([(b"access-control-allow-origin", allowed), _EXPOSED] if allowed else ())]

    def preflight(self, asked: Mapping[bytes, bytes]) -> Headers | None:
        """The answer to `OPTIONS`; None where it is no preflight, or not allowed."""
        allowed = self._allowed(asked)
        if allowed is None or b"access-control-request-method" not in asked:
            return None
        return [
            *self._vary(),
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
            (b"access-control-allow-headers", asked.get(b"access-control-request-headers", b"authorization")),
            (b"access-control-max-age", b"%d" % REMEMBERED),
        ]

    def _allowed(self, asked: Mapping[bytes, bytes]) -> bytes | None:
        origin = asked.get(b"origin")
        if origin is None or not (self._any or origin.lower() in self._origins):
            return None
        return ANY.encode() if self._any else origin

    def _vary(self) -> Headers:
        return [] if self._any else [_VARY]
