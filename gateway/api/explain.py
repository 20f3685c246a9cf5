"""The plan for a request, in words and figures, without sending anything."""

from typing import TypedDict

from gateway.api.entrance import Entrance
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
    """A plan as `/v1/explain` shows it (`route/told.py`)."""

    model: str
    policy: str
    prompt_tokens: Count
    expected_output_tokens: Count
    expected_rereads: float
    picked_by: str
    relaxed: str | None
    ranked: list[RankedEndpoint]
    dropped: list[DroppedEndpoint]


class Explain(Entrance):
    """`POST /v1/explain`: the same body as a chat completion; the answer is the plan. Raises ClientError."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        send_json(sink, 200, explanation(self._proxy.plan(request, policy), request.model), [])
