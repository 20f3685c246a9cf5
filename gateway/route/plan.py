"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

Most requests are answered by the first endpoint, so only that one is made a `Choice`; those behind it stay plain rows
until failover, a hedge or a person looks at them. `decide.py` makes plans.
"""

from collections.abc import Sequence

import msgspec

from gateway.route.cost import Candidate, Demand, Figures, Parts
from gateway.route.endpoint_state import EndpointState
from gateway.route.explore import Explorer
from gateway.route.filters import Dropped, Reason, Tier
from gateway.types import Endpoint, Policy, RegretReason

BY_SCORE = frozenset({"sample", "best"})  # pickers that nothing but the score matters to
Weights = Sequence[tuple[int, float]]
CERTAIN: Weights = ((0, 1.0),)
RankedRow = tuple[Tier, float, float, int, Candidate, Figures]  # tier, rank, score, place by id: in the order of trying
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
    """`rows` in the order of trying; `first` of them is None where nobody may be asked.

    `picked` says how the first was chosen: only, stays (where some of the prompt is), explore, or the policy's picker.
    It came from `place` in the order by score; `weights` has (place, weight) of all that chance might have put first.
    `choices` are what `ranked` has made of the rows.
    """

    policy: Policy
    rows: Sequence[RankedRow]
    first: Choice | None
    dropped: tuple[Dropped, ...]
    picked: str
    demand: Demand
    place: int = 0
    weights: Weights = CERTAIN
    explorer: Explorer | None = None
    choices: tuple[Choice, ...] = ()

    @property
    def ranked(self) -> tuple[Choice, ...]:
        """All that may be asked, in the order of trying, with the figures of the decision."""
        if self.first is not None and not self.choices:
            self.choices = (self.first, *map(choice_of, self.rows[1:]))
        return self.choices

    @property
    def endpoints(self) -> list[Endpoint]:
        """Those of `ranked`."""
        return [row[4].endpoint for row in self.rows]

    @property
    def odds(self) -> dict[str, float]:
        """How likely each endpoint was to be first, by id; empty where chance decided nothing."""
        if len(self.weights) < 2:
            return {}
        place, (first, *others) = self.place, self.ranked
        by_score = [*others[:place], first, *others[place:]]
        total = sum(weight for _, weight in self.weights)
        return {by_score[place].endpoint.id: weight / total for place, weight in self.weights}

    @property
    def relaxed(self) -> str | None:
        """What was given up to have any endpoint at all, in words; None when nothing was."""
        return None if self.first is None or self.first.tier is Tier.GOOD else self.first.tier.words


def choice_of(row: RankedRow) -> Choice:
    """A row with names."""
    level, rank, score, _, (state, endpoint, _, _, _, why), figures = row
    return Choice(endpoint, state, score, Parts(*figures), rank, level, why)


def regret(plan: Plan) -> tuple[float, RegretReason]:
    """Dollars that choosing this endpoint, and not the one with the best score, is expected to cost; and the cause.

        regret = score(chosen) - min score(eligible), never under 0, tolls left out of both

    The cause is the picker or the cap, whichever added more. Eligible are the endpoints of the chosen one's tier, and
    those that a cap keeps behind it. (0, "") where a policy picks by something else than the score (`order`, ...).
    """
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
