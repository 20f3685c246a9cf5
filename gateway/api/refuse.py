"""What handlers raise, told to the client in the OpenAI shape."""

import logging

from gateway.errors import ClientError
from gateway.proxy.answer import internal_error, send_error
from gateway.proxy.inbound import Handler, Inbound
from gateway.proxy.sink import Sink

_log = logging.getLogger(__name__)


def refusing(handler: Handler) -> Handler:
    """`handler` as a server may call it: it never raises. Nothing may have been sent when it raises."""

    def handle(inbound: Inbound, sink: Sink) -> None:
        try:
            handler(inbound, sink)
        except ClientError as error:
            send_error(sink, error, [])
        except Exception:  # a fault of ours must not leave the client waiting
            _log.exception("a request failed inside the gateway")
            send_error(sink, internal_error(), [])

    return handle
