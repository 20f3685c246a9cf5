"""What the handlers of all APIs are made of."""

import logging

from gateway.errors import ClientError
from gateway.intake.intake import Intake
from gateway.proxy.proxy import Proxy
from gateway.surface.answer import error_body, internal_error, send_error
from gateway.types import Surface
from gateway.types.sink import Handler, Inbound, Sink

_log = logging.getLogger(__name__)


class Entrance:
    """A way in: `_intake` reads requests, `_proxy` plans and serves them."""

    __slots__ = ("_intake", "_proxy")

    def __init__(self, proxy: Proxy, intake: Intake) -> None:
        self._proxy = proxy
        self._intake = intake


def refusing(handler: Handler, surface: Surface = "openai") -> Handler:
    """`handler` as a server may call it: it never raises. Nothing may have been sent when it raises."""

    def handle(inbound: Inbound, sink: Sink) -> None:
        try:
            handler(inbound, sink)
        except ClientError as refused:
            send_error(sink, refused, [], error_body(refused, surface))
        except Exception:  # a fault of ours must not leave the client waiting
            _log.exception("a request failed inside the gateway")
            error = internal_error()
            send_error(sink, error, [], error_body(error, surface))

    return handle
