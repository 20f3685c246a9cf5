"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

    every endpoint --Shortlist.sift--> candidates in tiers --cost.scores--> ranked --pick--> Plan

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does. An endpoint that
is above its share under a policy with a cap comes after all that are not, if they are healthy and free.

A draw belongs to a conversation. A prompt that continues one which an endpoint has in its cache goes to the best score,
which counts what leaving would cost; only what is new to all is drawn, or explores.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import attrgetter

import msgspec

from gateway.route.cost import Demand, Parts, expect, scores
from gateway.route.endpoint import EndpointState
from gateway.route.explore import Explorer
from gateway.route.filters import Dropped, Reason, Tier, late_for, over_cap
from gateway.route.fleet import Fleet
from gateway.route.shortlist import Candidate, Shortlist
from gateway.route.toll import FOR_NEW, Toll
from gateway.types import Endpoint, Pick, Policy, Request

TINY = 1e-12
BY_SCORE = frozenset({"sample", "best"})  # pickers that nothing but the score matters to
NOTHING: Mapping[str, int] = {}
NO_TOLLS: Mapping[str, float] = {}
CERTAIN: Mapping[str, float] = {}


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
    def familiar(self) -> bool:
        """Whether enough answers say how fast the endpoint usually is."""
        return self.state.speeds.known


class Plan(msgspec.Struct, frozen=True, gc=False):
    """`ranked` in the order of trying. `picked` says how the first was chosen: only, stays, explore or the policy's
    picker; `odds` has the chance of each that might have been first, by id, and is empty where there was no draw."""

    policy: Policy
    ranked: tuple[Choice, ...]
    dropped: tuple[Dropped, ...]
    picked: str
    demand: Demand
    odds: Mapping[str, float] = CERTAIN
    explorer: Explorer | None = None

    @property
    def relaxed(self) -> str | None:
        """What was given up to have any endpoint at all, in words; None when nothing was."""
        if not self.ranked or self.ranked[0].tier is Tier.GOOD:
            return None
        return self.ranked[0].tier.words


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
    choices, late = _scored(candidates, demand, matches, shortlist)
    if late:
        dropped = dropped + late
    if choices and choices[-1].tier is Tier.BREAKER_OPEN:
        choices, dropped = _without_open(choices, dropped)
    explorer = fleet.explorers.of(policy)
    ranked, picked, odds = _pick(choices, policy, _continues(request, known or 0), explorer, chance)
    return Plan(policy, tuple(ranked), tuple(dropped), picked, demand, odds, explorer)


_by_tier_rank_and_score = attrgetter("tier", "rank", "score")


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
) -> tuple[list[Choice], list[Dropped]]:
    """Scores each endpoint given the best of the others. Sorts by tier, rank, score, then id, as the candidates are.

    Returns those that limits on latency drop as well.
    """
    tolls = demand.toll.rates if demand.toll is not None else NO_TOLLS
    expected = [
        expect(terms, demand, matches.get(endpoint.id, 0), state.crowded, state.slowed, tolls.get(endpoint.id, 0.0))
        for state, endpoint, terms, _, _, _ in candidates
    ]
    late: list[Dropped] = []
    if shortlist.walls or shortlist.objectives:
        candidates, expected, late = _judged(candidates, expected, shortlist)
    if not candidates:
        return [], late
    choices = [
        Choice(endpoint, state, total, parts, rank, level, why)
        for (state, endpoint, _, rank, level, why), parts, total in zip(
            candidates, expected, scores(expected, shortlist.policy), strict=True
        )
    ]
    choices.sort(key=_by_tier_rank_and_score)
    return choices, late


def _judged(
    candidates: list[Candidate], expected: list[Parts], shortlist: Shortlist
) -> tuple[list[Candidate], list[Parts], list[Dropped]]:
    """By the limits on latency under `require` and `slo`: who is left, what is expected of them, and who is dropped."""
    kept, parts_of_kept, late = [], [], []
    for one, parts in zip(candidates, expected, strict=True):
        if reason := late_for(one.state, shortlist.walls, parts.size, parts.pace):
            late.append(Dropped(one.endpoint, reason))
            continue
        if one.tier < Tier.MISSED_SLO and (why := late_for(one.state, shortlist.objectives, parts.size, parts.pace)):
            one = one._replace(tier=Tier.MISSED_SLO, why=why)
        kept.append(one)
        parts_of_kept.append(parts)
    return kept, parts_of_kept, late


def _without_open(choices: list[Choice], dropped: list[Dropped]) -> tuple[list[Choice], list[Dropped]]:
    """Drops open breakers, which come last, unless nothing else is left."""
    opened = [choice for choice in choices if choice.tier is Tier.BREAKER_OPEN]
    if len(opened) == len(choices):
        return choices, dropped
    return choices[: -len(opened)], dropped + [Dropped(one.endpoint, one.why) for one in opened if one.why]


def _continues(request: Request, known: int) -> bool:
    """Whether some endpoint has more of the prompt in its cache than what conversations may share by chance."""
    return known > 0 and known >= (request.opening or request.prompt_tokens / 2)


def _pick(
    choices: list[Choice], policy: Policy, continues: bool, explorer: Explorer | None, chance: Callable[[], float]
) -> tuple[list[Choice], str, Mapping[str, float]]:
    """Decides which choice goes first, and says how, and how likely each was where chance decided."""
    if not choices:
        return choices, "none", CERTAIN
    pick = policy.pick
    if pick.how not in BY_SCORE:
        return choices, pick.how, CERTAIN
    best = choices[0].tier
    top = choices if choices[-1].tier is best else [choice for choice in choices if choice.tier is best]
    if len(top) == 1:
        return choices, "only", CERTAIN
    if continues:
        return choices, "stays", CERTAIN
    weights, how = _weighed(top, pick, explorer)
    if len(weights) == 1:
        return _first(choices, weights[0][0]), how, CERTAIN
    total = sum(weight for _, weight in weights)
    odds = {top[place].endpoint.id: weight / total for place, weight in weights}
    return _first(choices, _drawn(weights, total * chance())), how, odds


def _weighed(top: list[Choice], pick: Pick, explorer: Explorer | None) -> tuple[list[tuple[int, float]], str]:
    """(place, weight) of those that may be first, and how one of them is picked."""
    if explorer is not None and (weights := explorer.places(top)):
        return weights, "explore"
    if pick.how == "sample":
        return _near(top, pick.edge), "sample"
    return [(0, 1.0)], "best"


def _near(top: list[Choice], edge: float) -> list[tuple[int, float]]:
    """(place, weight) of those within `edge` of the best score, weighted 1/score^2."""
    scores = [choice.score for choice in top]
    near = max(1, bisect_right(scores, scores[0] * (1 + edge)))
    return [(place, max(score, TINY) ** -2) for place, score in enumerate(scores[:near])]


def _drawn(weights: list[tuple[int, float]], target: float) -> int:
    """The place at which this much of the weights, from the first on, is used up."""
    for place, weight in weights:
        target -= weight
        if target < 0:
            return place
    return weights[-1][0]


def _first(choices: list[Choice], place: int) -> list[Choice]:
    """The one at this place first, and the others as they were."""
    return [choices[place], *choices[:place], *choices[place + 1 :]] if place else choices
