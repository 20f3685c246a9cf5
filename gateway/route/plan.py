"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

    every endpoint --Shortlist.sift--> candidates in tiers --cost.scores--> ranked --pick--> Plan

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does. An endpoint that
is above its share under a policy with a cap comes after all that are not, if they are healthy and free.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import attrgetter

import msgspec

from gateway.route.cost import Demand, Parts, expect, scores
from gateway.route.endpoint import EndpointState
from gateway.route.filters import Dropped, Reason, Tier, over_cap
from gateway.route.fleet import Fleet
from gateway.route.shortlist import Candidate
from gateway.route.toll import FOR_NEW, Toll
from gateway.types import Endpoint, Policy, Request

EXPLORE_EXTRA_USD = 0.0005  # the most that trying another endpoint may cost beyond the best, re-reads included
TINY = 1e-12
BY_SCORE = frozenset({"sample", "best"})  # pickers that nothing but the score matters to
NOTHING: Mapping[str, int] = {}
NO_TOLLS: Mapping[str, float] = {}


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that may serve the request. `score` in dollars; `why` says what keeps it behind, if anything."""

    endpoint: Endpoint
    state: EndpointState
    score: float
    parts: Parts
    rank: float
    tier: Tier
    why: Reason | None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """`ranked` in the order of trying. `picked` says how the first was chosen: only, explore or the policy's picker."""

    policy: Policy
    ranked: tuple[Choice, ...]
    dropped: tuple[Dropped, ...]
    picked: str
    demand: Demand

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
    candidates, dropped = fleet.shortlist(policy, request.needs, now).sift(request, now)
    if demand.toll is not None:
        candidates = _capped(candidates, demand, demand.toll, matches, now)
    choices = _scored(candidates, demand, matches, policy)
    if choices and choices[-1].tier is Tier.BREAKER_OPEN:
        choices, dropped = _without_open(choices, dropped)
    ranked, picked = _pick(choices, policy, 2 * (known or 0) < request.prompt_tokens, chance)
    return Plan(policy, tuple(ranked), tuple(dropped), picked, demand)


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


def _scored(candidates: list[Candidate], demand: Demand, matches: Mapping[str, int], policy: Policy) -> list[Choice]:
    """Scores each endpoint given the best of the others. Sorts by tier, rank, score, then id, as the candidates are."""
    if not candidates:
        return []
    tolls = demand.toll.rates if demand.toll is not None else NO_TOLLS
    expected = [
        expect(terms, demand, matches.get(endpoint.id, 0), state.crowded, tolls.get(endpoint.id, 0.0))
        for state, endpoint, terms, _, _, _ in candidates
    ]
    choices = [
        Choice(endpoint, state, total, parts, rank, level, why)
        for (state, endpoint, _, rank, level, why), parts, total in zip(
            candidates, expected, scores(expected, policy), strict=True
        )
    ]
    choices.sort(key=_by_tier_rank_and_score)
    return choices


def _without_open(choices: list[Choice], dropped: list[Dropped]) -> tuple[list[Choice], list[Dropped]]:
    """Drops open breakers, which come last, unless nothing else is left."""
    opened = [choice for choice in choices if choice.tier is Tier.BREAKER_OPEN]
    if len(opened) == len(choices):
        return choices, dropped
    return choices[: -len(opened)], dropped + [Dropped(one.endpoint, one.why) for one in opened if one.why]


def _pick(choices: list[Choice], policy: Policy, new: bool, chance: Callable[[], float]) -> tuple[list[Choice], str]:
    """Decides which choice goes first, and says how."""
    if not choices:
        return choices, "none"
    pick = policy.pick
    if pick.how not in BY_SCORE:
        return choices, pick.how
    best = choices[0].tier
    top = choices if choices[-1].tier is best else [choice for choice in choices if choice.tier is best]
    if len(top) == 1:
        return choices, "only"
    if new and pick.explore and chance() < pick.explore and (unknown := _unknown(top)):
        return _first(choices, unknown[int(chance() * len(unknown))]), "explore"
    if pick.how == "sample":
        return _first(choices, _sampled(top, pick.edge, chance)), "sample"
    return choices, "best"


def _unknown(top: list[Choice]) -> list[int]:
    """The places of those about which little is known, and which do not cost much more than the best."""
    limit = top[0].score + EXPLORE_EXTRA_USD
    return [
        place for place, choice in enumerate(top) if choice.score <= limit and choice.state.figures["uptime_1h"] is None
    ]


def _sampled(top: list[Choice], edge: float, chance: Callable[[], float]) -> int:
    """The place of one of those within `edge` of the best score, weighted 1/score^2."""
    scores = [choice.score for choice in top]
    near = bisect_right(scores, scores[0] * (1 + edge))
    if near <= 1:
        return 0
    weights = [(score if score > TINY else TINY) ** -2 for score in scores[:near]]
    target = chance() * sum(weights)
    for place, weight in enumerate(weights):
        target -= weight
        if target < 0:
            return place
    return near - 1


def _first(choices: list[Choice], place: int) -> list[Choice]:
    """The one at this place first, and the others as they were."""
    return [choices[place], *choices[:place], *choices[place + 1 :]] if place else choices
