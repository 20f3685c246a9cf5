"""Where each policy would send a typical request now, and why, in one sentence.

    policy in force, fleet ──make_plan──> Plan ──> PolicyPick: the best endpoint, the ranking, the dropped

As for `/v1/explain`, no request is sent and nothing is learned. A policy that samples may send a request to another
endpoint near the best; the sentence says how often it sends it there.
"""

from collections.abc import Callable

from gateway.page.page_types import DroppedPick, PolicyPick, RankedPick
from gateway.route.decide import make_plan
from gateway.route.filters import Tier
from gateway.route.fleet import Fleet
from gateway.route.plan import Choice, Plan
from gateway.types import Policy, Request

PROMPT_TOKENS, OUTPUT_TOKENS = 800, 200  # of a typical request
NOTABLE = 0.01  # difference in price


def typical(model: str) -> Request:
    """A chat without tools, without a limit on its answer, that no cache has seen."""
    body = {"messages": [{"role": "user", "content": ""}]}
    return Request("gen-0-0", body, model, "", prompt_tokens=PROMPT_TOKENS, prompt_size=4 * PROMPT_TOKENS)


def pick(policy: Policy, model: str, fleet: Fleet, now: float, hour: int) -> PolicyPick:
    """`now` in monotonic seconds, `hour` of the day in UTC."""
    plan = make_plan(typical(model), policy, fleet, now, hour, _first)
    ranked = sorted(plan.ranked, key=lambda one: (one.tier, one.rank, one.score))
    return PolicyPick(
        ranked[0].endpoint.id if ranked else None,
        _why(plan, ranked),
        [RankedPick(one.endpoint.id, one.parts.usd, one.parts.seconds, one.parts.fails) for one in ranked],
        [DroppedPick(one.endpoint.id, f"{one.reason.rule}: {one.reason.detail}") for one in plan.dropped],
    )


def _first() -> float:
    """The draw that takes the best score."""
    return 0.0


def _why(plan: Plan, ranked: list[Choice]) -> str:
    if not ranked:
        rules = sorted({one.reason.rule for one in plan.dropped})
        return f"none can be used: {', '.join(rules)}" if rules else "none is in use"
    best = ranked[0]
    equals = [one for one in ranked[1:] if one.tier == best.tier]
    if equals:
        text = _COMPARED.get(plan.policy.pick.how, _by_score)(best, equals)
    else:
        text = "the only one that is not set back" if len(ranked) > 1 else "the only one that may be used"
    if best.tier is not Tier.GOOD and best.why is not None:
        text += f", though {best.why.rule}: {best.why.detail}"
    return text + _odds(plan, best)


def _odds(plan: Plan, best: Choice) -> str:
    """How often a policy that samples goes there."""
    share = plan.odds.get(best.endpoint.id) if plan.picked == "sample" else None
    return "" if share is None else f"; {share:.0%} of new prompts go there"


def _by_score(best: Choice, equals: list[Choice]) -> str:
    """The price where it is the lowest; else what outweighs the price of the cheapest one."""
    cheapest = min(equals, key=lambda one: one.parts.usd)
    mine, lowest = best.parts.usd, cheapest.parts.usd
    difference = mine / lowest - 1 if lowest else float(mine > 0)
    if difference <= -NOTABLE:
        return f"cheapest, {_usd(mine)}; {-difference:.0%} under the next"
    _, better = max(_advantages(best, cheapest))
    if difference < NOTABLE:
        return f"{better}; {_usd(mine)}, the same as {cheapest.endpoint.id}"
    return f"{better}; {_usd(mine)}, {difference:.0%} more than {cheapest.endpoint.id}"


def _advantages(best: Choice, other: Choice) -> list[tuple[float, str]]:
    """(dollars of the score, words) for each way in which `best` may be better."""
    mine, its = best.parts, other.parts
    return [
        (its.time_usd - mine.time_usd, f"faster, {_s(mine.seconds)} to the last token against {_s(its.seconds)}"),
        (its.quality_usd - mine.quality_usd, "better tool calls"),
        (its.reread_usd - mine.reread_usd, "cheaper for the next turns, which its prompt cache serves"),
        (its.toll_usd - mine.toll_usd, "below its share under the policy's cap"),
        (
            (other.score - its.plain) - (best.score - mine.plain),
            f"fails less, {mine.fails:.1%} against {its.fails:.1%}",
        ),
    ]


def _by_latency(best: Choice, equals: list[Choice]) -> str:
    following = min(one.parts.ttft for one in equals)
    return f"fastest first token, {_s(best.parts.ttft)}; the next {_s(following)}"


def _by_throughput(best: Choice, equals: list[Choice]) -> str:
    following = max(one.state.speeds.p50 for one in equals)
    return f"fastest output, {best.state.speeds.p50:.0f} tok/s; the next {following:.0f} tok/s"


def _by_order(_: Choice, __: list[Choice]) -> str:
    return "first in the policy's order"


_COMPARED: dict[str, Callable[[Choice, list[Choice]], str]] = {
    "latency": _by_latency,
    "throughput": _by_throughput,
    "order": _by_order,
}


def _usd(amount: float) -> str:
    return f"${amount:.3g}" if amount >= 0.001 else f"${amount:.6f}"


def _s(seconds: float) -> str:
    return f"{1_000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
