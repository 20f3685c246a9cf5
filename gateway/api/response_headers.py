"""Headers of every response, including errors, on every route: `x-request-id` and the CORS headers."""

import re
from collections.abc import Mapping
from random import Random

from gateway.api.cors import Cors
from gateway.types.sink import Headers

REQUEST_ID = b"x-request-id"
_SANE = re.compile(rb"[\w.:/+=@-]{1,128}")
_OURS = frozenset({b"x-generation-id", b"request-id"})  # headers with an id that a response may already have
_random = Random()


class ResponseHeaders:
    """Servers call it once for each response."""

    __slots__ = ("_has_cors", "cors")

    def __init__(self, cors: Cors) -> None:
        self.cors = cors
        self._has_cors = bool(cors)

    def __call__(self, request_headers: Mapping[bytes, bytes], headers: Headers) -> Headers:
        """The response headers: `headers` and those added to every response to a request with `request_headers`."""
        extended = [*headers, (REQUEST_ID, _name(request_headers, headers))]
        return extended + self.cors.headers(request_headers) if self._has_cors else extended


def _name(request_headers: Mapping[bytes, bytes], headers: Headers) -> bytes:
    """The client's own `x-request-id` if it is valid, else the exchange's id, else a new one."""
    own = request_headers.get(REQUEST_ID)
    if own is not None and _SANE.fullmatch(own):
        return own
    for name, value in headers:
        if name in _OURS:
            return value
    return b"req-%020x" % _random.getrandbits(80)
