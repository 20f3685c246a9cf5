"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

    every endpoint --Shortlist.sift--> candidates in tiers --cost.scores--> rows in order --pick--> Plan

Most requests are answered by the first endpoint, so only that one is made a `Choice`; those behind it stay plain rows
until failover, a hedge or a person looks at them.

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does, or nothing but
what will probably refuse. An endpoint that is above its share under a policy with a cap comes after all that are not,
if they are healthy and free.

A draw belongs to a conversation. A prompt that continues one which an endpoint has in its cache goes to the best score,
which counts what leaving would cost; only what is new to all is drawn, or explores.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.route.cost import MATCHED, Candidate, Demand, Figures, Parts, expect, scores
from gateway.route.endpoint_state import EndpointState
from gateway.route.explore import Explorer
from gateway.route.filters import Dropped, Reason, Tier, late_for, over_cap
from gateway.route.fleet import Fleet
from gateway.route.shortlist import Shortlist
from gateway.route.toll import FOR_NEW, Toll
from gateway.types import Endpoint, Pick, Policy, Request

TINY = 1e-12
TIE = 1e-9  # of a score
BY_SCORE = frozenset({"sample", "best"})  # pickers that nothing but the score matters to
NOTHING: Mapping[str, int] = {}
NO_TOLLS: Mapping[str, float] = {}
Weights = Sequence[tuple[int, float]]
CERTAIN: Weights = ((0, 1.0),)
RankedRow = tuple[Tier, float, float, int, Candidate, Figures]  # tier, rank, score, place by id: in the order of trying


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
            self.choices = (self.first, *map(_choice, self.rows[1:]))
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


def make_plan(
    request: Request, policy: Policy, fleet: Fleet, now: float, hour: int, chance: Callable[[], float]
) -> Plan:
    """Ranks all endpoints for one request. `now` in seconds, `hour` of the day in UTC, `chance` draws from [0, 1)."""
    matches, known = NOTHING, None
    if policy.affinity != "none" and request.prefix:
        matches = fleet.prefixes.matches(request.prefix, fleet.ttls, now)
        known = max(matches.values(), default=0)
    demand = fleet.demand(request, policy, known, now, hour)
    shortlist = fleet.shortlist(policy, request.needs, now)
    candidates, dropped = shortlist.sift(request, now)
    if demand.toll is not None:
        candidates = _capped(candidates, demand, demand.toll, matches, now)
    rows, late = _scored(candidates, demand, matches, shortlist)
    if late:
        dropped = dropped + late
    if rows and rows[-1][0] is Tier.BREAKER_OPEN:
        rows, dropped = _without_open(rows, dropped)
    explorer = fleet.explorers.of(policy)
    may_explore = explorer if shortlist.has_rare and explorer is not None and explorer.ready else None
    picked, weights = _pick(rows, policy.pick, _continues(request, known or 0), may_explore)
    place = _drawn(weights, chance()) if len(weights) > 1 else weights[0][0]
    if place:
        rows.insert(0, rows.pop(place))
    first = _choice(rows[0]) if rows else None
    return Plan(policy, rows, first, tuple(dropped), picked, demand, place, weights, explorer)


def _choice(row: RankedRow) -> Choice:
    level, rank, score, _, (state, endpoint, _, _, _, why), figures = row
    return Choice(endpoint, state, score, Parts(*figures), rank, level, why)


def _capped(
    candidates: list[Candidate], demand: Demand, toll: Toll, matches: Mapping[str, int], now: float
) -> list[Candidate]:
    """Puts those that are above their share behind the others; what is left of it is for prompts that they know."""
    nearly = toll.full(demand.tokens, now, FOR_NEW)
    if not nearly:
        return candidates
    full = toll.full(demand.tokens, now)
    full += [name for name in nearly if 2 * matches.get(name, 0) < demand.prompt_tokens]
    return [
        one._replace(tier=Tier.OVER_CAP, why=over_cap(toll, one.endpoint.id))
        if one.tier < Tier.OVER_CAP and one.endpoint.id in full
        else one
        for one in candidates
    ]


def _scored(
    candidates: list[Candidate], demand: Demand, matches: Mapping[str, int], shortlist: Shortlist
) -> tuple[list[RankedRow], list[Dropped]]:
    """Scores each endpoint given the best of the others. Sorts by tier, rank, score, then id, as the candidates are.

    Returns those that limits on latency drop as well.
    """
    tolls = demand.toll.rates if demand.toll is not None else NO_TOLLS
    expected = expect(candidates, demand, matches, tolls)
    late: list[Dropped] = []
    if shortlist.walls or shortlist.objectives:
        candidates, expected, late = _judged(candidates, expected, shortlist)
    if not candidates:
        return [], late
    found = scores(expected, shortlist.policy)
    rows = [(one.tier, one.rank, found[place], place, one, expected[place]) for place, one in enumerate(candidates)]
    rows.sort()
    return rows, late


def _judged(
    candidates: list[Candidate], expected: list[Figures], shortlist: Shortlist
) -> tuple[list[Candidate], list[Figures], list[Dropped]]:
    """By the limits on latency under `require` and `slo`: who is left, what is expected of them, and who is dropped."""
    kept, figures_of_kept, late = [], [], []
    for one, figures in zip(candidates, expected, strict=True):
        parts = Parts(*figures)
        if reason := late_for(one.state, shortlist.walls, parts.size, parts.pace):
            late.append(Dropped(one.endpoint, reason))
            continue
        if one.tier < Tier.MISSED_SLO and (why := late_for(one.state, shortlist.objectives, parts.size, parts.pace)):
            one = one._replace(tier=Tier.MISSED_SLO, why=why)
        kept.append(one)
        figures_of_kept.append(figures)
    return kept, figures_of_kept, late


def _without_open(rows: list[RankedRow], dropped: list[Dropped]) -> tuple[list[RankedRow], list[Dropped]]:
    """Drops open breakers, which come last, unless nothing better than a likely refusal is left."""
    if rows[0][0] >= Tier.LIKELY_REFUSAL:
        return rows, dropped
    opened = [row[4] for row in rows if row[0] is Tier.BREAKER_OPEN]
    return rows[: -len(opened)], dropped + [Dropped(one.endpoint, one.why) for one in opened if one.why]


def _continues(request: Request, known: int) -> bool:
    """Whether some endpoint has more of the prompt in its cache than what conversations may share by chance."""
    return known > 0 and known >= (request.opening or request.prompt_tokens / 2)


def _pick(rows: list[RankedRow], pick: Pick, continues: bool, explorer: Explorer | None) -> tuple[str, Weights]:
    """How the first is picked, and who it may be."""
    if not rows:
        return "none", CERTAIN
    if pick.how not in BY_SCORE:
        return pick.how, CERTAIN
    best = rows[0][0]
    top = rows if rows[-1][0] is best else [row for row in rows if row[0] is best]
    if len(top) == 1:
        return "only", CERTAIN
    if continues:
        place = _home(top)
        return "stays" if top[place][5][MATCHED] else "best", ((place, 1.0),)
    if explorer is not None and (weights := explorer.places([_choice(row) for row in top])):
        return "explore", weights
    return (pick.how, _near([row[2] for row in top], pick.edge)) if pick.how == "sample" else (pick.how, CERTAIN)


def _home(top: list[RankedRow]) -> int:
    """The place of the best score; among equals, of the one that has most of the prompt."""
    equal = top[0][2] * (1 + TIE)
    places = [place for place, row in enumerate(top) if row[2] <= equal]
    return max(places, key=lambda place: top[place][5][MATCHED])


def _near(scores: list[float], edge: float) -> Weights:
    """Places of those within `edge` of the best score, weighted 1/score^2. Scores are sorted, if ranks say no more."""
    limit = scores[0] * (1 + edge)
    if scores[1] > limit:
        return CERTAIN
    least = max(scores[0], TINY)
    return [(place, (score if score > least else least) ** -2) for place, score in enumerate(scores) if score <= limit]


def _drawn(weights: Weights, chance: float) -> int:
    """The place at which this share of the weights, from the first on, is used up."""
    target = chance * sum([weight for _, weight in weights])
    for place, weight in weights:
        target -= weight
        if target < 0:
            return place
    return weights[-1][0]
