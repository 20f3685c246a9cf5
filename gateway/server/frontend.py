"""What client connections need of the configuration in force.

    Frontend of one configuration ──reload──> Frontend of the next one ──SIGTERM──> closing ──notice──> refusing
                          LiveFrontend.current: replaced as a whole

While the gateway drains, all requests go through `app`, so that serving has no cost for it. A request reads it once,
with its headers. A response under way does not need it any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.server.asgi import AsgiSink
from gateway.server.request_gate import RequestGate
from gateway.surface.answer import path_error_body, send_error, shutting_down
from gateway.types.sink import Handler, HeadWriter

FRONTEND = "frontend"  # key of the LiveFrontend in the lifespan state
HEALTH = "/health"
SERVED_ALWAYS = (HEALTH.encode(), b"/metrics")  # also where every connection is taken
CLOSE = (b"connection", b"close")


@dataclass(frozen=True, slots=True)
class Frontend:
    """Of one configuration. `hot` has the routes that the HTTP connection serves directly; `app` serves all others."""

    hot: Mapping[bytes, Handler]
    gate: RequestGate
    heading: HeadWriter
    app: ASGIApp


class LiveFrontend:
    """The one place where connections find the frontend in force."""

    __slots__ = ("current",)

    def __init__(self, current: Frontend) -> None:
        self.current = current

    def __repr__(self) -> str:
        return f"<LiveFrontend with {len(self.current.hot)} hot routes>"


def closing(frontend: Frontend) -> Frontend:
    """The same, but each connection closes after its response, so that the client's next request goes elsewhere."""
    serve = frontend.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        await serve(scope, receive, sending)

    return replace(frontend, hot={}, app=app)


def refusing(frontend: Frontend) -> Frontend:
    """The same, but all requests other than those about its health get a 503 at once."""
    serve = frontend.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(HEALTH):
            await serve(scope, receive, send)
            return
        sink, error = AsgiSink(), shutting_down()
        send_error(sink, error, [CLOSE], path_error_body(error, scope["path"]))
        await sink.drain(send)

    return replace(frontend, hot={}, app=app)
