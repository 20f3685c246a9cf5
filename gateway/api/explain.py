"""The plan for a request, in words and figures, without sending anything."""

from typing import Any

from gateway.api.parse import Intake
from gateway.errors import ClientError
from gateway.proxy.answer import send_error, send_json
from gateway.proxy.inbound import Inbound
from gateway.proxy.proxy import Proxy
from gateway.proxy.sink import Sink
from gateway.route.plan import Choice, Plan
from gateway.types import Request


class Explain:
    """`POST /v1/explain`: the same body as a chat completion; the answer is the plan."""

    __slots__ = ("_intake", "_proxy")

    def __init__(self, proxy: Proxy, intake: Intake) -> None:
        self._proxy = proxy
        self._intake = intake

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        try:
            request, policy = self._intake.read(inbound)
        except ClientError as error:
            send_error(sink, error, [])
            return
        send_json(sink, 200, told(self._proxy.plan(request, policy), request), [])


def told(plan: Plan, request: Request) -> dict[str, Any]:
    """A plan as JSON. Dollars are for this request, seconds to its last token."""
    return {
        "model": request.model,
        "policy": plan.policy.name,
        "prompt_tokens": request.prompt_tokens,
        "expected_output_tokens": round(plan.demand.output_tokens),
        "picked_by": plan.picked,
        "relaxed": plan.relaxed,
        "ranked": [_choice(choice) for choice in plan.ranked],
        "dropped": [
            {"endpoint": one.endpoint.id, "rule": one.reason.rule, "detail": one.reason.detail} for one in plan.dropped
        ],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    parts = choice.parts
    return {
        "endpoint": choice.endpoint.id,
        "score_usd": choice.score,
        "expected_usd": parts.usd,
        "input_usd": parts.input_usd,
        "output_usd": parts.output_usd,
        "expected_cached_share": parts.hit,
        "expected_ttft_s": parts.ttft,
        "expected_s": parts.seconds,
        "failure_probability": parts.fails,
        "quality_usd": parts.quality_usd,
        "behind_because": f"{choice.why.rule}: {choice.why.detail}" if choice.why else None,
    }
