"""A plan in words and figures, for people: what `explain`, the CLI and the model page show."""

from typing import Any

from gateway.route.plan import Choice, Plan


def told(plan: Plan, model: str) -> dict[str, Any]:
    """A plan for a request to `model`, as JSON. Dollars are for this request, seconds to its last token."""
    return {
        "model": model,
        "policy": plan.policy.name,
        "prompt_tokens": plan.demand.prompt_tokens,
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
