"""The decision: ranks all endpoints for one request and picks the first.

    every endpoint --Shortlist.sift--> candidates in tiers --cost.scores--> rows in order --pick--> Plan

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does, or nothing but
what will probably refuse. An endpoint that is above its share under a policy with a cap comes after all that are not,
if they are healthy and free.

A draw belongs to a conversation. A prompt that continues one which an endpoint has in its cache goes to the best score,
which counts what leaving would cost; only what is new to all is drawn, or explores.
"""

from collections.abc import Callable, Mapping

from gateway.route.cost import MATCHED, Candidate, Demand, Figures, Parts, expect, scores
from gateway.route.explore import Explorer
from gateway.route.filters import Dropped, Tier, late_for, over_cap
from gateway.route.fleet import Fleet
from gateway.route.plan import BY_SCORE, CERTAIN, Plan, RankedRow, Weights, choice_of
from gateway.route.shortlist import Shortlist
from gateway.route.toll import FOR_NEW, Toll
from gateway.types import Pick, Policy, Request

TINY = 1e-12
TIE = 1e-9  # of a score
NOTHING: Mapping[str, int] = {}
NO_TOLLS: Mapping[str, float] = {}


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
    first = choice_of(rows[0]) if rows else None
    return Plan(policy, rows, first, tuple(dropped), picked, demand, place, weights, explorer)


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
    if explorer is not None and (weights := explorer.places([choice_of(row) for row in top])):
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
