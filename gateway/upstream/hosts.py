"""The way out: a request to an endpoint, in its host's dialect, to its address, over the one transport."""

from collections.abc import Mapping

from gateway.types import Endpoint, Request
from gateway.upstream.address import Destination
from gateway.upstream.connection import Receiver, Sent
from gateway.upstream.dialects import outgoing
from gateway.upstream.transport import Transport


class Hosts:
    """`destinations` by endpoint id. The transport stays its owner's to close."""

    __slots__ = ("_destinations", "_transport")

    def __init__(self, destinations: Mapping[str, Destination], transport: Transport) -> None:
        self._destinations = destinations
        self._transport = transport

    def __repr__(self) -> str:
        return f"<Hosts of {len(self._destinations)} endpoints>"

    def send(self, request: Request, endpoint: Endpoint, receiver: Receiver, connect_timeout: float) -> Sent:
        """Sends it, as `Transport.send` does. KeyError for an endpoint without a destination."""
        return self._destinations[endpoint.id].send(
            self._transport, outgoing(request, endpoint), receiver, connect_timeout
        )
