"""The ASGI middleware in front of all routes: checks `Host`, `Origin` and the admin key, normalises paths, answers CORS
preflights and adds the headers of every response.

    //v1/models/ ──authority──> /v1/models ──admin──> app ──> status, headers ──heading──> server

Extra slashes in a path are ignored, not redirected: behind a proxy the redirect's address may be wrong for clients, and
clients drop their key when they follow a redirect.
"""

import re
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ClientError
from gateway.server.admin_gate import AdminGate
from gateway.server.asgi import AsgiSink
from gateway.server.host_check import Authority
from gateway.surface.answer import path_error_body, send_error
from gateway.types.sink import Headers, HeadWriter

_SLASHES = re.compile("/{2,}")


class Middleware:
    """`preflight` returns the response headers of a CORS preflight, or None if the request is not one."""

    def __init__(
        self,
        app: ASGIApp,
        authority: Authority,
        admin: AdminGate,
        heading: HeadWriter,
        preflight: Callable[[Mapping[bytes, bytes]], Headers | None],
    ) -> None:
        self._app = app
        self._authority = authority
        self._admin = admin
        self._heading = heading
        self._preflight = preflight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_headers = dict(scope["headers"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._heading(request_headers, list(message.get("headers", ())))}
            await send(message)

        if (error := self._rejection(scope, request_headers)) is not None:
            sink = AsgiSink()
            send_error(sink, error, [], path_error_body(error, scope["path"]))
            await sink.drain(sending)
        elif scope["method"] == "OPTIONS" and (allowed := self._preflight(request_headers)) is not None:
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            await send({"type": "http.response.body"})
        else:
            await self._app({**scope, "path": plain(scope["path"])}, receive, sending)

    def _rejection(self, scope: Scope, request_headers: Mapping[bytes, bytes]) -> ClientError | None:
        method, headers, needs_host = scope["method"].encode(), scope["headers"], scope["http_version"] == "1.1"
        return self._authority.refusal(
            method, scope["raw_path"], headers, request_headers, needs_host=needs_host
        ) or self._admin.refusal(plain(scope["path"]), request_headers)


def plain(path: str) -> str:
    """A path without empty segments."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"
