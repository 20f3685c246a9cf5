"""The ASGI app in front of all routes: who may come in, paths as they are meant, preflights, and what the head of every
answer has.

    //v1/models/ ──authority──> /v1/models ──> app ──> status, headers ──heading──> server

A path with a slash too many is served as it is meant: a redirect would send clients to an address that only the proxy
in front knows, and they would drop their key on the way.
"""

import re
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ClientError
from gateway.server.asgi import AsgiSink
from gateway.server.authority import Authority
from gateway.surface.answer import path_error_body, send_error
from gateway.types.sink import Headers, HeadWriter

_SLASHES = re.compile("/{2,}")


class Front:
    """`preflight` gives the headers of an answer to `OPTIONS`, or None where the app shall answer."""

    def __init__(
        self,
        app: ASGIApp,
        authority: Authority,
        heading: HeadWriter,
        preflight: Callable[[Mapping[bytes, bytes]], Headers | None],
    ) -> None:
        self._app = app
        self._authority = authority
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

        if (error := self._refusal(scope, asked)) is not None:
            sink = AsgiSink()
            send_error(sink, error, [], path_error_body(error, scope["path"]))
            await sink.drain(sending)
        elif scope["method"] == "OPTIONS" and (allowed := self._preflight(asked)) is not None:
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            await send({"type": "http.response.body"})
        else:
            await self._app({**scope, "path": plain(scope["path"])}, receive, sending)

    def _refusal(self, scope: Scope, asked: Mapping[bytes, bytes]) -> ClientError | None:
        method, headers, needs_host = scope["method"].encode(), scope["headers"], scope["http_version"] == "1.1"
        return self._authority.refusal(method, scope["raw_path"], headers, asked, needs_host=needs_host)


def plain(path: str) -> str:
    """A path without empty parts."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"
