"""A plan: the endpoints ranked for one request, every one kept or dropped with its reason and its parts in dollars.

    every endpoint --filters.forbidden--> candidates --filters.tier--> tiers --cost.score--> ranked --pick--> Plan

A worse tier never comes before a better one. Within the best tier the picker decides who is first; the rest follow by
score, for failover. Open breakers are used only when nothing else is left, as a panic threshold does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.route import cost
from gateway.route.endpoint import EndpointState
from gateway.route.filters import Reason, Tier, forbidden, tier
from gateway.route.fleet import Fleet
from gateway.types import Endpoint, Policy, Request

EXPLORE_EXTRA_USD = 0.002  # the most that trying another endpoint may cost beyond the best
TINY = 1e-12


class Choice(NamedTuple):
    """One endpoint that may serve the request. `score` in dollars; `why` says what keeps it behind, if anything."""

    endpoint: Endpoint
    state: EndpointState
    score: float
    parts: cost.Parts
    tier: Tier
    why: Reason | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """One endpoint that may not serve the request."""

    endpoint: Endpoint
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """`ranked` in the order of trying. `picked` says how the first was chosen: best, sample, explore, fixed, only."""

    policy: Policy
    ranked: tuple[Choice, ...]
    dropped: tuple[Dropped, ...]
    picked: str
    demand: cost.Demand

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
    dropped: list[Dropped] = []
    found: _Found = []
    for name, state in fleet.states.items():
        if now >= state.due:
            state.refresh(now)
        if reason := forbidden(state, request, policy, now):
            dropped.append(Dropped(state.endpoint, reason))
            continue
        parts = cost.expect(state, demand, matches.get(name, 0), policy)
        found.append((state, parts, *tier(state, policy, now)))
    choices = _without_open(_scored(found, policy), dropped)
    ranked, picked = _pick(choices, policy, not matches, chance)
    return Plan(policy, tuple(ranked), tuple(dropped), picked, demand)


_Found = list[tuple[EndpointState, cost.Parts, Tier, Reason | None]]


def _scored(found: _Found, policy: Policy) -> list[Choice]:
    """Scores each endpoint given the best of the others, and sorts by tier, then score, then id."""
    if not found:
        return []
    plain = sorted((parts.plain, state.endpoint.id, parts) for state, parts, _, _ in found)
    best, second = plain[0][2], plain[min(1, len(plain) - 1)][2]
    choices = []
    for state, parts, level, why in found:
        total = cost.score(parts, second if parts is best else best, policy)
        choices.append(Choice(state.endpoint, state, total, parts, level, why))
    choices.sort(key=lambda choice: (choice.tier, choice.score, choice.endpoint.id))
    return choices


def _without_open(choices: list[Choice], dropped: list[Dropped]) -> list[Choice]:
    """Drops open breakers, unless nothing else is left."""
    usable = [choice for choice in choices if choice.tier is not Tier.BREAKER_OPEN]
    if not usable:
        return choices
    dropped += [Dropped(choice.endpoint, choice.why) for choice in choices[len(usable) :] if choice.why]
    return usable


def _pick(choices: list[Choice], policy: Policy, new: bool, chance: Callable[[], float]) -> tuple[list[Choice], str]:
    """Decides which choice goes first, and says how."""
    if not choices:
        return choices, "none"
    pick = policy.pick
    if pick.how == "fixed":
        return choices, "fixed"
    top = [choice for choice in choices if choice.tier is choices[0].tier]
    if len(top) == 1:
        return choices, "only"
    if new and pick.explore and chance() < pick.explore:
        return _first(choices, _explored(top, chance)), "explore"
    if pick.how == "sample":
        return _first(choices, _sampled(top, pick.edge, chance)), "sample"
    return choices, "best"


def _explored(top: list[Choice], chance: Callable[[], float]) -> Choice:
    """Any endpoint that does not cost much more than the best."""
    affordable = [choice for choice in top if choice.parts.usd <= top[0].parts.usd + EXPLORE_EXTRA_USD]
    return affordable[int(chance() * len(affordable))]


def _sampled(top: list[Choice], edge: float, chance: Callable[[], float]) -> Choice:
    """One of those within `edge` of the best score, weighted 1/score^2."""
    limit = top[0].score * (1 + edge)
    near = [choice for choice in top if choice.score <= limit]
    if len(near) == 1:
        return near[0]
    weights = [max(choice.score, TINY) ** -2 for choice in near]
    target = chance() * sum(weights)
    for choice, weight in zip(near, weights, strict=True):
        target -= weight
        if target < 0:
            return choice
    return near[-1]


def _first(choices: list[Choice], chosen: Choice) -> list[Choice]:
    return [chosen, *(choice for choice in choices if choice is not chosen)]
