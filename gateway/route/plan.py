"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

Most requests are answered by the first endpoint, so only that one is made a `Choice`. Whatever is needed for failover,
a hedge, `explain` or the page is made from the costs of the decision when it is read. `decide.py` makes plans.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from gateway.route.cost import Costs, Demand, Parts
from gateway.route.endpoint_state import EndpointState
from gateway.route.explore import Explorer
from gateway.route.filters import Dropped, Reason, Tier
from gateway.types import Endpoint, Policy, RegretReason

BY_SCORE = frozenset({"sample", "best"})  # pickers that nothing but the score matters to
GOOD = Tier.GOOD  # read for every request, and members of an enum are slow to find
_BEST_FIRST = frozenset({"only", "sample"})  # ways to pick whose `near` begins with the best score of all
_DRAWN: dict[str, RegretReason] = {"sample": "sample", "explore": "explore"}


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that may serve the request. `score` in dollars; `why` says what keeps it behind, if anything."""

    endpoint: Endpoint
    state: EndpointState
    score: float
    parts: Parts
    rank: float
    tier: Tier
    why: Reason | None

    @property
    def risk_usd(self) -> float:
        """What its possible failure is expected to cost."""
        return self.score - self.parts.plain

    @property
    def recent(self) -> float:
        """Answers of the last minutes, faded by their age."""
        return self.state.recent

    @property
    def attempted(self) -> float:
        """Attempts of the last hours, faded by their age."""
        return self.state.attempted

    @property
    def familiar(self) -> bool:
        """Whether enough answers say how fast the endpoint usually is."""
        return self.state.speeds.known


class Plan(msgspec.Struct, gc=False):
    """`first` is tried first; None where no endpoint may be used.

    `picked` says how the first was chosen: only, stays (where some of the prompt is), explore, or the policy's picker.
    It stands at `place` of the candidates in `costs`, of which `places` may be used, in no order; `near` has the places
    of all that could have been first, the best score first, and `weights` how likely each of several was to be sampled.
    """

    policy: Policy
    demand: Demand
    costs: Costs
    places: Sequence[int]
    first: Choice | None
    dropped: tuple[Dropped, ...]
    picked: str
    place: int = 0
    near: Sequence[int] = ()
    weights: Sequence[float] = ()
    explorer: Explorer | None = None
    choices: tuple[Choice, ...] = ()

    @property
    def ranked(self) -> tuple[Choice, ...]:
        """All that may be used, in the order of trying, with the figures of the decision."""
        if self.first is not None and not self.choices:
            others = [choice_of(self.costs, place) for place in self._order() if place != self.place]
            self.choices = (self.first, *others)
        return self.choices

    @property
    def endpoints(self) -> list[Endpoint]:
        """Those of `ranked`."""
        return [choice.endpoint for choice in self.ranked]

    @property
    def odds(self) -> dict[str, float]:
        """How likely each endpoint was to be first, by id; empty where nothing was drawn."""
        if len(self.near) < 2:
            return {}
        candidates, total = self.costs.field.candidates, sum(self.weights)
        return {
            candidates[place].endpoint.id: weight / total for place, weight in zip(self.near, self.weights, strict=True)
        }

    @property
    def relaxed(self) -> str | None:
        """What was given up to have any endpoint at all, in words; None when nothing was."""
        return None if self.first is None or self.first.tier is GOOD else self.first.tier.words

    def _order(self) -> list[int]:
        return sorted(self.places, key=partial(_rank, self.costs))


def _rank(costs: Costs, place: int) -> tuple[Tier, float, float, int]:
    one = costs.field.candidates[place]
    return one.tier, one.rank, costs.scores[place], place


def choice_of(costs: Costs, place: int) -> Choice:
    """The candidate at this place, with its score."""
    one = costs.field.candidates[place]
    return Choice(one.endpoint, one.state, costs.scores[place], costs.parts(place), one.rank, one.tier, one.why)


def regret(plan: Plan) -> tuple[float, RegretReason]:
    """Dollars that choosing this endpoint, and not the one with the best score, is expected to cost; and the cause.

        regret = score(chosen) - min score(eligible), never under 0, tolls left out of both

    The cause is the picker or the cap, whichever added more. Eligible are the endpoints of the chosen one's tier, and
    those that a cap keeps behind it. (0, "") where a policy picks by something else than the score (`order`, ...).
    """
    chosen = plan.first
    if chosen is None or plan.policy.pick.how not in BY_SCORE:
        return 0.0, ""
    best = plan.costs.scores[plan.near[0]] if plan.picked in _BEST_FIRST else _best_score(plan, chosen.tier)
    drawn = chosen.score - best
    if plan.demand.toll is not None:
        return _regret_under_cap(plan, chosen, drawn)
    return (drawn, _DRAWN.get(plan.picked, "")) if drawn > 0 else (0.0, "")


def _regret_under_cap(plan: Plan, chosen: Choice, drawn: float) -> tuple[float, RegretReason]:
    """The same where a cap may have kept the best one back. `drawn`: dollars that the picker added."""
    eligible = [one for one in plan.ranked if one.tier == chosen.tier or one.tier == Tier.OVER_CAP]
    whole = _untolled(chosen) - min(map(_untolled, eligible))
    if whole <= 0:
        return 0.0, ""
    return whole, "cap" if whole > 2 * drawn else _DRAWN.get(plan.picked, "cap")


def _best_score(plan: Plan, tier: Tier) -> float:
    """Of those in this tier."""
    candidates, scores = plan.costs.field.candidates, plan.costs.scores
    return min([scores[place] for place in plan.places if candidates[place].tier is tier])


def _untolled(choice: Choice) -> float:
    return choice.score - choice.parts.toll_usd
