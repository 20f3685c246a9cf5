"""Sends a request to an endpoint: in its dialect, to its address, over the one transport."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from urllib.parse import quote

from gateway.types import Endpoint, Failure, Request
from gateway.upstream.dialects import outgoing
from gateway.upstream.transport.address import Destination
from gateway.upstream.transport.connection import Receiver, SentCall
from gateway.upstream.transport.transport import Transport

SHORTEST_SECRET = 8  # characters; a shorter secret may be a common word, and is not redacted


class Upstreams:
    """`destinations` by endpoint id. The transport's owner closes it. `secrets` are redacted in failures.

    `to_operator`: the clients are the operator, who may read what is private in a failure. `headers` returns header
    lines for an attempt of a request.
    """

    __slots__ = ("_destinations", "_headers", "_secrets", "_to_operator", "_transport")

    def __init__(
        self,
        destinations: Mapping[str, Destination],
        transport: Transport,
        secrets: Iterable[str] = (),
        *,
        to_operator: bool = False,
        headers: Callable[[Request, int], bytes] | None = None,
    ) -> None:
        self._destinations = destinations
        self._transport = transport
        self._to_operator = to_operator
        self._headers = headers
        known = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
        self._secrets = dict.fromkeys([*known, *(quote(secret, safe="") for secret in known)])  # also as in a URL

    def __repr__(self) -> str:
        return f"<Upstreams of {len(self._destinations)} endpoints>"

    def send(
        self,
        request: Request,
        endpoint: Endpoint,
        receiver: Receiver,
        connect_timeout: float,
        streams: bool = False,
        attempt: int = 0,
    ) -> SentCall:
        """Sends the request as `Transport.send` does; `streams` as for `outgoing`. KeyError for an endpoint without a
        destination. `attempt` is the number of the attempt; 0: no attempt of a client's request."""
        destination, body = self._destinations[endpoint.id], outgoing(request, endpoint, streams)
        if self._headers is None or not attempt:
            return destination.send(self._transport, body, receiver, connect_timeout)
        return destination.send(self._transport, body, receiver, connect_timeout, self._headers(request, attempt))

    def concealed(self, failure: Failure, endpoint: Endpoint) -> Failure:
        """The failure at an endpoint as a client may see it, without our secrets: some hosts quote the key that they
        refuse."""
        message, code = self._masked(failure.message), failure.code and self._masked(failure.code)
        if self._to_operator and failure.private:
            message = self.explained(failure, endpoint)
        if message == failure.message and code == failure.code:
            return failure
        return replace(failure, message=message, code=code)

    def explained(self, failure: Failure, endpoint: Endpoint) -> str:
        """The failure as its operator needs to see it: with the variable of a refused key, and the host's words."""
        message = self._masked(failure.message)
        if not failure.private:
            return message
        check = f"; check {endpoint.api_key_env}" if endpoint.api_key_env else ""
        return f"{message}{check}; the host says: {self._masked(failure.private)}"

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text
