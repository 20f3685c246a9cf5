"""The plan for a request, in words and figures, without sending anything."""

from gateway.api.entrance import Entrance
from gateway.proxy.answer import send_json
from gateway.proxy.inbound import Inbound
from gateway.proxy.sink import Sink
from gateway.route.told import told


class Explain(Entrance):
    """`POST /v1/explain`: the same body as a chat completion; the answer is the plan. Raises ClientError."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        send_json(sink, 200, told(self._proxy.plan(request, policy), request.model), [])
