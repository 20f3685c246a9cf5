"""What handlers raise, told to the client in its surface's words."""

import logging

from gateway.errors import ClientError
from gateway.proxy.answer import error_body, internal_error, send_error
from gateway.proxy.inbound import Handler, Inbound
from gateway.proxy.sink import Sink
from gateway.types import Surface

_log = logging.getLogger(__name__)


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
