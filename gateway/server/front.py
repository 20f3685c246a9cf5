"""The ASGI app in front of all routes: paths as they are meant, preflights, and what the head of every answer has.

    //v1/models/ ──> /v1/models ──> app ──> status, headers ──heading──> server

A path with a slash too many is served as it is meant: a redirect would send clients to an address that only the proxy
in front knows, and they would drop their key on the way.
"""

import re
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.proxy.sink import Headers, HeadWriter

_SLASHES = re.compile("/{2,}")


class Front:
    """`preflight` gives the headers of an answer to `OPTIONS`, or None where the app shall answer."""

    def __init__(
        self, app: ASGIApp, heading: HeadWriter, preflight: Callable[[Mapping[bytes, bytes]], Headers | None]
    ) -> None:
        self._app = app
        self._heading = heading
        self._preflight = preflight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = dict(scope["headers"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._heading(asked, list(message.get("headers", ())))}
            await send(message)

        if scope["method"] == "OPTIONS" and (allowed := self._preflight(asked)) is not None:
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            await send({"type": "http.response.body"})
        else:
            await self._app({**scope, "path": plain(scope["path"])}, receive, sending)


def plain(path: str) -> str:
    """A path without empty parts."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"
