"""One minimal request to one endpoint, without a client: shows whether the host rejects the account.

AccountProbe ── refused ──> Fleet.distrust: the breakers of all endpoints with the same credential open
"""

import logging

from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import Timer
from gateway.route.fleet import Fleet
from gateway.types import Endpoint, Failure, Fault, Request
from gateway.upstream.dialects import outgoing
from gateway.upstream.transport.connection import SentCall
from gateway.upstream.whole_reader import WholeReader

CONNECT_TIMEOUT = 3.0
TIMEOUT = 30.0  # for the whole answer
_log = logging.getLogger("gateway")
OF_THE_CREDENTIAL = frozenset({401, 402})  # other refusals may concern one model only


class AccountProbe:
    """Opens the endpoint's breaker when its host rejects the account for this one too. One at a time per endpoint."""

    __slots__ = ("_call", "_endpoint", "_fleet", "_runtime", "_timer")

    def __init__(self, runtime: Runtime, fleet: Fleet, endpoint: Endpoint) -> None:
        self._runtime = runtime
        self._fleet = fleet
        self._endpoint = endpoint
        self._call: SentCall | None = None
        self._timer: Timer | None = None

    def begin(self) -> None:
        runtime, endpoint = self._runtime, self._endpoint
        if endpoint.id in runtime.probing:
            return
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        request = Request(id="probe", body=body, model="", policy="")
        reader = WholeReader(self, runtime.wall_clock())
        destination = runtime.destinations[endpoint.id]
        self._call = destination.send(outgoing(request, endpoint), reader, CONNECT_TIMEOUT)
        self._timer = runtime.wheel.after(TIMEOUT, self._end)
        runtime.probing.add(endpoint.id)

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
        self._end()

    def on_failed(self, failure: Failure) -> None:
        self._end()
        if failure.fault is Fault.ACCOUNT:
            _log.error("%s: %s", self._endpoint.id, self._runtime.redactor.explained(failure, self._endpoint))
            self._distrust(failure.status)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._call.cancel()
        self._runtime.probing.discard(self._endpoint.id)

    def _distrust(self, status: int | None) -> None:
        runtime = self._runtime
        why = f"account {status or ''}".rstrip()  # not the host's words: they may repeat the key
        alone = status not in OF_THE_CREDENTIAL
        self._fleet.distrust(self._endpoint.id, why, runtime.clock(), runtime.rng(), alone=alone)
