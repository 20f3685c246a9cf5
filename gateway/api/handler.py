"""The base class of all API handlers, and the wrapper that turns their errors into responses."""

import logging

from gateway.errors import ClientError
from gateway.intake.intake import Intake
from gateway.proxy.proxy import Proxy
from gateway.surface.answer import error_body, internal_error, send_error
from gateway.types import Surface
from gateway.types.sink import Handler, Inbound, Sink

_log = logging.getLogger(__name__)


class ApiHandler:
    """Base class: `_intake` decodes requests, `_proxy` plans and serves them."""

    __slots__ = ("_intake", "_proxy")

    def __init__(self, proxy: Proxy, intake: Intake) -> None:
        self._proxy = proxy
        self._intake = intake


def with_error_responses(handler: Handler, surface: Surface = "openai") -> Handler:
    """A handler that never raises: it sends an error response if `handler` raises, which must be before it has sent
    anything."""

    def handle(inbound: Inbound, sink: Sink) -> None:
        try:
            handler(inbound, sink)
        except ClientError as client_error:
            send_error(sink, client_error, [], error_body(client_error, surface))
        except Exception:  # a bug must not leave the client waiting
            _log.exception("a request failed because of an internal error")
            error = internal_error()
            send_error(sink, error, [], error_body(error, surface))

    return handle
