"""`POST /v1/explain`: the routing plan for a request, which is not sent to any host."""

from typing import TypedDict

from gateway.api.handler import ApiHandler
from gateway.intake.field_types import ApiObject, Count
from gateway.route.explanation import explanation
from gateway.surface.answer import send_json
from gateway.types.sink import Inbound, Sink


class RankedEndpoint(TypedDict):
    endpoint: str
    expected_usd: float
    expected_s: float


class DroppedEndpoint(ApiObject):
    endpoint: str
    rule: str
    detail: str


class ExplainedPlan(ApiObject):
    """A plan as `/v1/explain` shows it (`route/explanation.py`)."""

    model: str
    policy: str
    prompt_tokens: Count
    expected_output_tokens: Count
    expected_rereads: float
    picked_by: str
    relaxed: str | None
    ranked: list[RankedEndpoint]
    dropped: list[DroppedEndpoint]


class Explain(ApiHandler):
    """`POST /v1/explain`: takes the body of a chat completion and returns its plan. Raises ClientError."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        send_json(sink, 200, explanation(self._proxy.plan(request, policy), request.model), [])
