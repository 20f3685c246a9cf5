"""Plans in words and figures: a file for each policy, a paragraph for each situation, a line for each endpoint.

Endpoints stand in the order of trying. A share in front says how likely each was to be first, where chance decided. The
dollars after it are the score: what is to pay, the price of the time and of a failure, and what else the line names.
"""

from collections.abc import Iterator
from math import floor, log10
from pathlib import Path

from gateway.policy.policies import load_folder, shipped_folder
from gateway.route.filters import Reason
from gateway.route.plan import Choice, Plan
from gateway.types import Policy
from tests.policy.golden.situations import SITUATIONS, decided, places

FOLDER = Path(__file__).parent / "plans"
POLICIES = load_folder(shipped_folder())
LEAST = 5e-8  # dollars that are worth a word


def file(policy: Policy) -> Path:
    return FOLDER / f"{policy.name}.txt"


def page(policy: Policy) -> str:
    """What the policy's file should say."""
    usual = places(policy)
    parts = [f"{policy.name}: {policy.about}\n"]
    for situation in SITUATIONS:
        plan = decided(policy, situation, usual)
        parts.append("\n".join([f"{situation.about.format(**usual._asdict())}. {_picked(plan)}", *_told(plan), ""]))
    return "\n".join(parts)


def _picked(plan: Plan) -> str:
    return f"Picked: {plan.picked}; relaxed: {plan.relaxed}." if plan.relaxed else f"Picked: {plan.picked}."


def _told(plan: Plan) -> Iterator[str]:
    for choice in plan.ranked:
        odds = f"{plan.odds[choice.endpoint.id]:.0%}" if choice.endpoint.id in plan.odds else ""
        yield f"  {choice.endpoint.id:15} {odds:>4}  {_figures(choice)}"
    dropped: dict[Reason, list[str]] = {}
    for one in plan.dropped:
        dropped.setdefault(one.reason, []).append(one.endpoint.id)
    for reason, names in dropped.items():
        yield f"  not {', '.join(names)}: {reason.rule}: {reason.detail}"


def _figures(choice: Choice) -> str:
    parts = choice.parts
    figures = (
        f"{_usd(choice.score):9} with {_usd(parts.usd):9} to pay, {_seconds(parts.ttft):>6} to the first token, "
        f"{_seconds(parts.seconds):>5} in all, {parts.hit:3.0%} cached, {parts.fails:5.1%} fails"
    )
    return "; ".join([figures, *_besides(choice)])


def _besides(choice: Choice) -> Iterator[str]:
    """What else the score has, and what keeps the endpoint behind others."""
    parts = choice.parts
    priced = {
        "re-reads": parts.reread_usd,
        "missed preference": parts.miss_usd,
        "bad tool calls": parts.quality_usd,
        "toll": parts.toll_usd,
    }
    yield from (f"{name} {_usd(usd)}" for name, usd in priced.items() if usd > LEAST)
    if choice.why:
        yield f"{choice.tier.words}: {choice.why.rule}: {choice.why.detail}"


def _usd(dollars: float) -> str:
    return f"${dollars:.{_decimals(dollars)}f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.{_decimals(seconds)}f}s"


def _decimals(value: float) -> int:
    """Places behind the point that show three digits."""
    return max(0, 2 - floor(log10(value))) if value else 0
