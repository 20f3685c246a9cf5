"""What choosing this endpoint, and not the one with the best score, is expected to cost.

    regret = score(chosen) - min score(eligible), never under 0, tolls left out of both

Eligible are the endpoints of the chosen one's tier, and those that a cap keeps behind it. Where a policy picks by
something else than the score (`order`, `fixed`, ...), nothing is regretted.
"""

from collections.abc import Sequence

from gateway.route.filters import Tier
from gateway.route.plan import BY_SCORE, Choice, Plan, RankedRow
from gateway.types import RegretReason

_DRAWN: dict[str, RegretReason] = {"sample": "sample", "explore": "explore"}


def regret(plan: Plan) -> tuple[float, RegretReason]:
    """Dollars, and to what they are due: the larger of what the picker and the cap have added."""
    chosen = plan.first
    if chosen is None or plan.policy.pick.how not in BY_SCORE:
        return 0.0, ""
    drawn = chosen.score - _best_score(plan.rows)
    if plan.demand.toll is None:
        return (drawn, _DRAWN.get(plan.picked, "")) if drawn > 0 else (0.0, "")
    eligible = [one for one in plan.ranked if one.tier == chosen.tier or one.tier == Tier.OVER_CAP]
    whole = _untolled(chosen) - min(map(_untolled, eligible))
    if whole <= 0:
        return 0.0, ""
    return whole, "cap" if whole > 2 * drawn else _DRAWN.get(plan.picked, "cap")


def _best_score(rows: Sequence[RankedRow]) -> float:
    """Of the first one's tier. The others follow in the order of their scores."""
    tier, _, score, *_ = rows[0]
    return min(score, rows[1][2]) if len(rows) > 1 and rows[1][0] == tier else score


def _untolled(choice: Choice) -> float:
    return choice.score - choice.parts.toll_usd
