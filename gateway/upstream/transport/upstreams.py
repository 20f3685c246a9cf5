"""Sends a request to an endpoint: in its dialect, to its address, over the one transport."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.types import Endpoint, Failure, Request
from gateway.upstream.dialects import outgoing
from gateway.upstream.transport.address import Destination
from gateway.upstream.transport.connection import Receiver, SentCall
from gateway.upstream.transport.transport import Transport

SHORTEST_SECRET = 8  # characters; a shorter secret may be a common word, and is not redacted


class Upstreams:
    """`destinations` by endpoint id. The transport's owner closes it. `secrets` are redacted in failures."""

    __slots__ = ("_destinations", "_secrets", "_transport")

    def __init__(
        self, destinations: Mapping[str, Destination], transport: Transport, secrets: Iterable[str] = ()
    ) -> None:
        self._destinations = destinations
        self._transport = transport
        self._secrets = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]

    def __repr__(self) -> str:
        return f"<Upstreams of {len(self._destinations)} endpoints>"

    def send(
        self, request: Request, endpoint: Endpoint, receiver: Receiver, connect_timeout: float, streams: bool = False
    ) -> SentCall:
        """Sends the request as `Transport.send` does; `streams` as for `outgoing`. KeyError for an endpoint without a
        destination."""
        return self._destinations[endpoint.id].send(
            self._transport, outgoing(request, endpoint, streams), receiver, connect_timeout
        )

    def concealed(self, failure: Failure) -> Failure:
        """The failure without our secrets: some hosts quote the key that they refuse."""
        message, code = failure.message, failure.code
        for secret in self._secrets:
            message = message.replace(secret, "[redacted]")
            code = code and code.replace(secret, "[redacted]")
        if message == failure.message and code == failure.code:
            return failure
        return replace(failure, message=message, code=code)
