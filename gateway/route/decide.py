"""The decision: ranks all endpoints for one request and picks the first.

    every endpoint ──Shortlist.sift──> candidates in tiers ──Costs──> scores ──pick──> Plan

A worse tier never comes before a better one. Within the best tier the picker decides which is first; the rest follow by
score, for failover. As with Envoy's panic threshold, open breakers are used when no other endpoint is left, or only
likely rejections, and the client names no other model to try. An endpoint that is above its share under a policy with a
cap comes after all that are not, if they are healthy and free.

Sampling is done once per conversation. A prompt that continues one in an endpoint's cache goes to the best score, which
counts what moving would cost; only a prompt that is new to all endpoints is sampled, or explores.
"""

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from msgspec import structs

from gateway.route.cost import Costs, Demand
from gateway.route.explore import FEW, Explorer
from gateway.route.filters import Dropped, Tier, late_for, over_cap
from gateway.route.fleet import Fleet
from gateway.route.offers import Field
from gateway.route.plan import BY_SCORE, Plan, choice_of
from gateway.route.shortlist import Shortlist, Sifted
from gateway.route.toll import FOR_NEW, Toll
from gateway.route.waits import scale, size_class
from gateway.types import Pick, Policy, Request

TINY = 1e-12
TIE = 1e-9  # of a score
NOTHING: Mapping[str, int] = {}
Picked = tuple[str, Sequence[int], Sequence[float]]  # how; the places that may be first, the best score first; weights


def make_plan(request: Request, policy: Policy, fleet: Fleet, now: float, hour: int, rng: Callable[[], float]) -> Plan:
    """Ranks all endpoints for one request. `now` in seconds, `hour` of the day in UTC, `rng` draws from [0, 1)."""
    matches, known = NOTHING, None
    if policy.affinity != "none" and request.prefix:
        matches = fleet.prefixes.matches(request.prefix, fleet.ttls, now)
        known = max(matches.values()) if matches else 0
    demand = fleet.demand(request, policy, known, now, hour)
    shortlist = fleet.shortlist(policy, request.needs, now)
    field, dropped = shortlist.sift(request, now)
    if demand.toll is not None:
        field = _capped(field, demand, demand.toll, matches, now)
    if shortlist.walls or shortlist.objectives:
        field, dropped = _within_limits(field, dropped, demand, matches, shortlist)
    costs = Costs(field, demand, matches)
    explorer = fleet.explorers.of(policy)
    places: Sequence[int] = range(len(field.candidates))
    # `any_busy` is true of an open breaker, too; it is read first because members of an enum are slow to find
    if field.any_busy and field.worst is Tier.BREAKER_OPEN and _are_others_left(field, request):
        places, dropped = _without_open(field, dropped)
    if not places:
        return Plan(policy, demand, costs, (), None, tuple(dropped), "none", explorer=explorer)
    may_explore = explorer if shortlist.has_rare and explorer is not None and explorer.ready else None
    continues = bool(known) and _continues(request, known or 0)
    picked, near, weights = _pick(costs, places, policy.pick, continues, matches, may_explore)
    place = _drawn(near, weights, rng()) if len(near) > 1 else near[0]
    first = choice_of(costs, place)
    return Plan(policy, demand, costs, places, first, tuple(dropped), picked, place, near, weights, explorer)


def _capped(field: Field, demand: Demand, toll: Toll, matches: Mapping[str, int], now: float) -> Field:
    """Puts those above their share after the others; the slack that is left is reserved for prompts in their caches."""
    nearly = toll.full(demand.tokens, now, FOR_NEW)
    if not nearly:
        return field
    full = toll.full(demand.tokens, now)
    full += [name for name in nearly if 2 * matches.get(name, 0) < demand.prompt_tokens]
    return field.in_tiers(
        [
            structs.replace(one, tier=Tier.OVER_CAP, why=over_cap(toll, one.endpoint.id))
            if one.tier < Tier.OVER_CAP and one.endpoint.id in full
            else one
            for one in field.candidates
        ]
    )


def _within_limits(
    field: Field, dropped: list[Dropped], demand: Demand, matches: Mapping[str, int], shortlist: Shortlist
) -> Sifted:
    """By the limits on latency: those that miss one under `require` are dropped, under `slo` put behind."""
    prompt, kept, late = demand.prompt_tokens, [], []
    for one in field.candidates:
        share = min(1.0, matches.get(one.endpoint.id, 0) / prompt) if prompt else 0.0
        fresh = prompt * (1 - share * one.terms.hit_rate)
        size, pace = size_class(fresh), scale(fresh) * one.state.load.crowded
        if reason := late_for(one.state, shortlist.walls, size, pace):
            late.append(Dropped(one.endpoint, reason))
            continue
        if one.tier < Tier.MISSED_SLO and (why := late_for(one.state, shortlist.objectives, size, pace)):
            one = structs.replace(one, tier=Tier.MISSED_SLO, why=why)
        kept.append(one)
    return (field.only(kept), dropped + late) if late else (field.in_tiers(kept), dropped)


def _are_others_left(field: Field, request: Request) -> bool:
    """Whether the request can do without open breakers: an endpoint will take it, or another model may be tried."""
    return field.best < Tier.LIKELY_REFUSAL or request.other_models > 0


def _without_open(field: Field, dropped: list[Dropped]) -> tuple[list[int], list[Dropped]]:
    """Drops open breakers."""
    kept = [place for place, one in enumerate(field.candidates) if one.tier is not Tier.BREAKER_OPEN]
    opened = [one for one in field.candidates if one.tier is Tier.BREAKER_OPEN]
    return kept, dropped + [Dropped(one.endpoint, one.why) for one in opened if one.why]


def _continues(request: Request, known: int) -> bool:
    """Whether some endpoint has more of the prompt in its cache than what conversations may share by chance."""
    return known > 0 and known >= (request.opening or request.prompt_tokens / 2)


def _pick(
    costs: Costs,
    places: Sequence[int],
    pick: Pick,
    continues: bool,
    matches: Mapping[str, int],
    explorer: Explorer | None,
) -> Picked:
    """How the first is picked, and which it may be: of one there are no weights."""
    field, scores = costs.field, costs.scores
    if pick.how not in BY_SCORE:
        return pick.how, (_first(costs, places),), ()
    top = places if field.best is field.worst else _of_best_tier(field, places)
    if len(top) == 1:
        return "only", top, ()
    order = sorted(top, key=scores.__getitem__)
    if continues:
        home = _home(costs, order, matches)
        return "stays" if matches.get(field.candidates[home].endpoint.id) else "best", (home,), ()
    if explorer is not None:
        near, weights = _explorable(costs, order, explorer)
        if near:
            return "explore", near, weights
    if pick.how == "best":
        return "best", (order[0],), ()
    near = _close_to_best(scores, order, pick.edge)
    return "sample", near, _weights(scores, near)


def _of_best_tier(field: Field, places: Sequence[int]) -> list[int]:
    return [place for place in places if field.candidates[place].tier is field.best]


def _close_to_best(scores: list[float], order: list[int], edge: float) -> list[int]:
    """Those whose score exceeds the best one by at most this share of it; `order` has the best one first."""
    return order[: bisect(order, scores[order[0]] * (1 + edge), key=scores.__getitem__)]


def _weights(scores: list[float], near: list[int]) -> list[float]:
    lift = TINY if scores[near[0]] < TINY else 0.0
    return [(scores[place] + lift) ** -2 for place in near]


def _first(costs: Costs, places: Sequence[int]) -> int:
    """By tier, rank and score."""
    candidates, scores = costs.field.candidates, costs.scores
    return min(places, key=lambda place: (candidates[place].tier, candidates[place].rank, scores[place]))


def _home(costs: Costs, order: list[int], matches: Mapping[str, int]) -> int:
    """The best score, which is first in `order`; among equals, the one that has most of the prompt."""
    candidates, equal = costs.field.candidates, _close_to_best(costs.scores, order, TIE)
    return max(equal, key=lambda place: matches.get(candidates[place].endpoint.id, 0))


def _explorable(costs: Costs, order: list[int], explorer: Explorer) -> tuple[Sequence[int], Sequence[float]]:
    """The places that may be explored, and their weights. `order` is by score, the best one first."""
    scores, states, limit = costs.scores, costs.field.offers.states, explorer.limit(costs.scores[order[0]])
    if not any(states[one].recent < FEW and (scores[one] <= limit or not states[one].speeds.known) for one in order):
        return (), ()
    found = explorer.places([choice_of(costs, place) for place in order])
    return [order[at] for at, _ in found], [weight for _, weight in found]


def _drawn(near: Sequence[int], weights: Sequence[float], draw: float) -> int:
    """The place at which this share of the weights, from the first on, is used up."""
    used = list(accumulate(weights))
    return near[bisect(used, draw * used[-1], 0, len(near) - 1)]
