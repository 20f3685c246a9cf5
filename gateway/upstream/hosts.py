"""The way out: a request to an endpoint, in its host's dialect, to its address, over the one transport."""

from collections.abc import Mapping

from gateway.types import Endpoint, Request
from gateway.upstream.connection import Receiver
from gateway.upstream.dialects import Address, outgoing
from gateway.upstream.transport import Call, Transport


class Hosts:
    """`addresses` by endpoint id. The transport stays its owner's to close."""

    __slots__ = ("_addresses", "_transport")

    def __init__(self, addresses: Mapping[str, Address], transport: Transport) -> None:
        self._addresses = addresses
        self._transport = transport

    def __repr__(self) -> str:
        return f"<Hosts of {len(self._addresses)} endpoints>"

    def send(self, request: Request, endpoint: Endpoint, receiver: Receiver, connect_timeout: float) -> Call:
        """Sends it, as `Transport.send` does. KeyError for an endpoint without an address."""
        address, body = self._addresses[endpoint.id], outgoing(request, endpoint)
        return self._transport.send(address.origin, address.head(len(body)), body, receiver, connect_timeout)
