"""One minimal request to one endpoint, apart from any client: is it the account that the host refuses?"""

from collections.abc import Callable

from gateway.types import Endpoint, Failure, Request
from gateway.upstream.dialects import Address, outgoing
from gateway.upstream.reader import WholeReader
from gateway.upstream.transport import Transport

CONNECT_TIMEOUT = 3.0


class Probe:
    """Tells `told(True)` when the host refuses even this, for the account's sake."""

    __slots__ = ("_endpoint", "_told")

    def __init__(self, endpoint: Endpoint, told: Callable[[bool], None]) -> None:
        self._endpoint = endpoint
        self._told = told

    def begin(self, transport: Transport, address: Address, unix: float) -> None:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        request = Request(id="probe", body=body, model="", policy="")
        data = outgoing(request, self._endpoint)
        transport.send(address.origin, address.head(len(data)), data, WholeReader(self, unix), CONNECT_TIMEOUT)

    def on_first_token(self) -> None:
        """A whole answer has none."""

    def on_chunk(self, data: bytes) -> None:
        """A whole answer has none."""

    def on_finished(self) -> None:
        self._told(False)

    def on_failed(self, failure: Failure) -> None:
        self._told(failure.fault == "account")
