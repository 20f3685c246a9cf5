"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

    every endpoint --Shortlist.sift--> candidates in tiers --cost.scores--> ranked --pick--> Plan

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import attrgetter

import msgspec

from gateway.route.cost import Demand, Parts, expect, scores
from gateway.route.endpoint import EndpointState
from gateway.route.filters import Dropped, Reason, Tier
from gateway.route.fleet import Fleet
from gateway.route.shortlist import Candidate
from gateway.types import Endpoint, Policy, Request

EXPLORE_EXTRA_USD = 0.002  # the most that trying another endpoint may cost beyond the best
TINY = 1e-12


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that may serve the request. `score` in dollars; `why` says what keeps it behind, if anything."""

    endpoint: Endpoint
    state: EndpointState
    score: float
    parts: Parts
    tier: Tier
    why: Reason | None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """`ranked` in the order of trying. `picked` says how the first was chosen: best, sample, explore, fixed, only."""

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
        return self.ranked[0].tier.name.lower().replace("_", " ")


def make_plan(
    request: Request, policy: Policy, fleet: Fleet, now: float, hour: int, chance: Callable[[], float]
) -> Plan:
    """Ranks all endpoints for one request. `now` in seconds, `hour` of the day in UTC, `chance` draws from [0, 1)."""
    demand = fleet.demand(request, now, hour)
    matches = fleet.prefixes.matches(request.prefix, fleet.ttls, now) if policy.affinity == "prefix" else {}
    candidates, dropped = fleet.shortlist(policy, request.needs, now).sift(request, now)
    choices = _scored(candidates, demand, matches, policy)
    if choices and choices[-1].tier is Tier.BREAKER_OPEN:
        choices, dropped = _without_open(choices, dropped)
    ranked, picked = _pick(choices, policy, not matches, chance)
    return Plan(policy, tuple(ranked), tuple(dropped), picked, demand)


_by_tier_and_score = attrgetter("tier", "score")


def _scored(candidates: list[Candidate], demand: Demand, matches: Mapping[str, int], policy: Policy) -> list[Choice]:
    """Scores each endpoint given the best of the others. Sorts by tier, then score, then id, as the candidates are."""
    if not candidates:
        return []
    expected = [expect(terms, demand, matches.get(endpoint.id, 0)) for _, endpoint, terms, _, _ in candidates]
    choices = [
        Choice(endpoint, state, total, parts, level, why)
        for (state, endpoint, _, level, why), parts, total in zip(
            candidates, expected, scores(expected, policy), strict=True
        )
    ]
    choices.sort(key=_by_tier_and_score)
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
    if pick.how == "fixed":
        return choices, "fixed"
    best = choices[0].tier
    top = choices if choices[-1].tier is best else [choice for choice in choices if choice.tier is best]
    if len(top) == 1:
        return choices, "only"
    if new and pick.explore and chance() < pick.explore:
        return _first(choices, _explored(top, chance)), "explore"
    if pick.how == "sample":
        return _first(choices, _sampled(top, pick.edge, chance)), "sample"
    return choices, "best"


def _explored(top: list[Choice], chance: Callable[[], float]) -> int:
    """The place of any endpoint that does not cost much more than the best."""
    limit = top[0].parts.usd + EXPLORE_EXTRA_USD
    affordable = [place for place, choice in enumerate(top) if choice.parts.usd <= limit]
    return affordable[int(chance() * len(affordable))]


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
