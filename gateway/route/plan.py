"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

    every endpoint --Shortlist.sift--> candidates in tiers --cost.scores--> ranked --pick--> Plan

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does, or nothing but
what will probably refuse. An endpoint that is above its share under a policy with a cap comes after all that are not,
if they are healthy and free.

A draw belongs to a conversation. A prompt that continues one which an endpoint has in its cache goes to the best score,
which counts what leaving would cost; only what is new to all is drawn, or explores.
"""

from collections.abc import Callable, Mapping, Sequence
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
TIE = 1e-9  # of a score
BY_SCORE = frozenset({"sample", "best"})  # pickers that nothing but the score matters to
NOTHING: Mapping[str, int] = {}
NO_TOLLS: Mapping[str, float] = {}
Weights = Sequence[tuple[int, float]]
CERTAIN: Weights = ((0, 1.0),)


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


class Plan(msgspec.Struct, frozen=True, gc=False):
    """`ranked` in the order of trying.

    `picked` says how the first was chosen: only, stays (where some of the prompt is), explore, or the policy's picker.
    It came from `place` in the order by score; `weights` has (place, weight) of all that chance might have put first.
    """

    policy: Policy
    ranked: tuple[Choice, ...]
    dropped: tuple[Dropped, ...]
    picked: str
    demand: Demand
    place: int = 0
    weights: Weights = CERTAIN
    explorer: Explorer | None = None

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
    may_explore = explorer if shortlist.has_rare else None
    picked, weights = _pick(choices, policy.pick, _continues(request, known or 0), may_explore)
    place = _drawn(weights, chance()) if len(weights) > 1 else weights[0][0]
    return Plan(policy, _ordered(choices, place), tuple(dropped), picked, demand, place, weights, explorer)


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
    """Drops open breakers, which come last, unless nothing better than a likely refusal is left."""
    if choices[0].tier >= Tier.LIKELY_REFUSAL:
        return choices, dropped
    opened = [choice for choice in choices if choice.tier is Tier.BREAKER_OPEN]
    return choices[: -len(opened)], dropped + [Dropped(one.endpoint, one.why) for one in opened if one.why]


def _continues(request: Request, known: int) -> bool:
    """Whether some endpoint has more of the prompt in its cache than what conversations may share by chance."""
    return known > 0 and known >= (request.opening or request.prompt_tokens / 2)


def _pick(choices: list[Choice], pick: Pick, continues: bool, explorer: Explorer | None) -> tuple[str, Weights]:
    """How the first is picked, and who it may be."""
    if not choices:
        return "none", CERTAIN
    if pick.how not in BY_SCORE:
        return pick.how, CERTAIN
    best = choices[0].tier
    top = choices if choices[-1].tier is best else [choice for choice in choices if choice.tier is best]
    if len(top) == 1:
        return "only", CERTAIN
    if continues:
        place = _home(top)
        return "stays" if top[place].parts.matched_tokens else "best", ((place, 1.0),)
    if explorer is not None and (weights := explorer.places(top)):
        return "explore", weights
    return (pick.how, _near(top, pick.edge)) if pick.how == "sample" else (pick.how, CERTAIN)


def _home(top: list[Choice]) -> int:
    """The place of the best score; among equals, of the one that has most of the prompt."""
    equal = top[0].score * (1 + TIE)
    places = [place for place, one in enumerate(top) if one.score <= equal]
    return max(places, key=lambda place: top[place].parts.matched_tokens)


def _near(top: list[Choice], edge: float) -> Weights:
    """Those within `edge` of the best score, weighted 1/score^2."""
    limit = top[0].score * (1 + edge)
    if top[1].score > limit:
        return CERTAIN
    least = max(top[0].score, TINY)
    return [
        (place, (one.score if one.score > least else least) ** -2)
        for place, one in enumerate(top)
        if one.score <= limit
    ]


def _drawn(weights: Weights, chance: float) -> int:
    """The place at which this share of the weights, from the first on, is used up."""
    target = chance * sum([weight for _, weight in weights])
    for place, weight in weights:
        target -= weight
        if target < 0:
            return place
    return weights[-1][0]


def _ordered(choices: list[Choice], place: int) -> tuple[Choice, ...]:
    """The one at this place first, and the others as they were."""
    return (choices[place], *choices[:place], *choices[place + 1 :]) if place else tuple(choices)
