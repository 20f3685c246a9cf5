"""The plan for a request, in words and figures, without sending anything."""

from gateway.api.parse import Intake
from gateway.proxy.answer import send_json
from gateway.proxy.inbound import Inbound
from gateway.proxy.proxy import Proxy
from gateway.proxy.sink import Sink
from gateway.route.told import told


class Explain:
    """`POST /v1/explain`: the same body as a chat completion; the answer is the plan. Raises ClientError."""

    __slots__ = ("_intake", "_proxy")

    def __init__(self, proxy: Proxy, intake: Intake) -> None:
        self._proxy = proxy
        self._intake = intake

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        send_json(sink, 200, told(self._proxy.plan(request, policy), request.model), [])
