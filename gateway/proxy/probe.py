"""One minimal request to one endpoint, apart from any client: is it the account that the host refuses?"""

from collections.abc import Callable

from gateway.proxy.wheel import Timer, Wheel
from gateway.types import Endpoint, Failure, Fault, Request
from gateway.upstream.transport.connection import SentCall
from gateway.upstream.transport.hosts import Upstreams
from gateway.upstream.whole import WholeReader

CONNECT_TIMEOUT = 3.0
TIMEOUT = 30.0  # for the whole answer


class AccountProbe:
    """Tells once: the failure, when the host refuses even this for the account's sake, else None."""

    __slots__ = ("_call", "_endpoint", "_timer", "_told")

    def __init__(self, endpoint: Endpoint, told: Callable[[Failure | None], None]) -> None:
        self._endpoint = endpoint
        self._told = told
        self._call: SentCall | None = None
        self._timer: Timer | None = None

    def begin(self, hosts: Upstreams, wheel: Wheel, unix: float) -> None:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        request = Request(id="probe", body=body, model="", policy="")
        self._call = hosts.send(request, self._endpoint, WholeReader(self, unix), CONNECT_TIMEOUT)
        self._timer = wheel.after(TIMEOUT, lambda: self._end(None))

    def on_first_token(self) -> None:
        """A whole answer has none."""

    def on_chunk(self, data: bytes) -> None:
        """A whole answer has none."""

    def on_comment(self, data: bytes) -> None:
        """A whole answer has none."""

    @property
    def may_be_empty(self) -> bool:
        return True

    def on_finished(self) -> None:
        self._end(None)

    def on_failed(self, failure: Failure) -> None:
        self._end(failure if failure.fault is Fault.ACCOUNT else None)

    def _end(self, failure: Failure | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._call.cancel()
        self._told(failure)
