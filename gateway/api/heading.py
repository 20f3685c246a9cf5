"""What the head of every answer has, whatever route or error it comes from: `x-request-id`, and CORS headers."""

import re
from collections.abc import Mapping
from random import Random

from gateway.api.cors import Cors
from gateway.types.sink import Headers

REQUEST_ID = b"x-request-id"
_SANE = re.compile(rb"[\w.:/+=@-]{1,128}")
_OURS = frozenset({b"x-generation-id", b"request-id"})  # names that an answer may already have
_random = Random()


class Heading:
    """Servers call it once for each answer."""

    __slots__ = ("_has_cors", "cors")

    def __init__(self, cors: Cors) -> None:
        self.cors = cors
        self._has_cors = bool(cors)

    def __call__(self, asked: Mapping[bytes, bytes], headers: Headers) -> Headers:
        """`headers` of the answer to a request that had the headers `asked`, and what is added to them."""
        told = [*headers, (REQUEST_ID, _name(asked, headers))]
        return told + self.cors.headers(asked) if self._has_cors else told


def _name(asked: Mapping[bytes, bytes], headers: Headers) -> bytes:
    """The client's own name for the request where it is short and plain, else the exchange's, else a new one."""
    own = asked.get(REQUEST_ID)
    if own is not None and _SANE.fullmatch(own):
        return own
    for name, value in headers:
        if name in _OURS:
            return value
    return b"req-%020x" % _random.getrandbits(80)
