"""A plan in words and figures: what `explain`, the CLI and the model page show."""

from typing import Any

from gateway.route.plan import Choice, Plan

LISTED = 10  # endpoints of a kind in one line
LONGEST_LINE = 1_000  # bytes: proxies on the way take a header of that size


def explanation(plan: Plan, model: str) -> dict[str, Any]:
    """A plan for a request to `model`, as JSON. Dollars are for this request, seconds to its last token."""
    return {
        "model": model,
        "policy": plan.policy.name,
        "prompt_tokens": plan.demand.prompt_tokens,
        "expected_output_tokens": round(plan.demand.output_tokens),
        "expected_rereads": plan.demand.rereads,
        "picked_by": plan.picked,
        "relaxed": plan.relaxed,
        "ranked": [_choice(choice, odds) for choice, odds in zip(plan.ranked, _odds(plan), strict=True)],
        "dropped": [
            {"endpoint": one.endpoint.id, "rule": one.reason.rule, "detail": one.reason.detail} for one in plan.dropped
        ],
    }


def summary(plan: Plan) -> bytes:
    """The same in one line of at most `LONGEST_LINE` ASCII bytes, for a header: how the first was picked and its odds,
    then each endpoint with its expected dollars, seconds and cached share, then the dropped ones with the rule.

        sample 56%; novita/fp8 $0.000212 2.1s 80%; baidu/fp8 $0.000240 1.9s 0%; not chutes (require.zdr)
    """
    odds = plan.odds
    picked = f"{plan.picked} {odds[plan.ranked[0].endpoint.id]:.0%}" if odds else plan.picked
    parts = [f"{picked}, relaxed: {plan.relaxed}" if plan.relaxed else picked]
    parts += [_figures(choice) for choice in plan.ranked[:LISTED]]
    if plan.dropped:
        out = ", ".join(f"{one.endpoint.id} ({one.reason.rule})" for one in plan.dropped[:LISTED])
        parts.append(f"not {out}")
    line = "; ".join(parts).encode("ascii", "replace")
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + b"..."


def _figures(choice: Choice) -> str:
    parts = choice.parts
    return f"{choice.endpoint.id} ${parts.usd:.6f} {parts.seconds:.1f}s {parts.hit:.0%}"


def _odds(plan: Plan) -> list[float]:
    """How likely each of `ranked` was to be tried first."""
    if odds := plan.odds:
        return [odds.get(choice.endpoint.id, 0.0) for choice in plan.ranked]
    return [float(place == 0) for place in range(len(plan.ranked))]


def _choice(choice: Choice, odds: float) -> dict[str, Any]:
    parts = choice.parts
    return {
        "endpoint": choice.endpoint.id,
        "odds": odds,
        "score_usd": choice.score,
        "expected_usd": parts.usd,
        "input_usd": parts.input_usd,
        "output_usd": parts.output_usd,
        "expected_cached_share": parts.hit,
        "expected_ttft_s": parts.ttft,
        "expected_s": parts.seconds,
        "failure_probability": parts.fails,
        "quality_usd": parts.quality_usd,
        "reread_usd": parts.reread_usd,
        "miss_usd": parts.miss_usd,
        "toll_usd": parts.toll_usd,
        "behind_because": f"{choice.why.rule}: {choice.why.detail}" if choice.why else None,
    }
