"""A plan made plainly: every rule asked for every endpoint, every time, nothing kept from one request to the next.

It shares with the real one what was learned (the states and the prefix index) and nothing of the deciding. Reasons are
(rule, detail), tiers are numbers: 0 good, 1 missed preference, 2 busy, 3 breaker open.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.route.cost import Demand
from gateway.route.endpoint import SIZES, EndpointState
from gateway.route.fleet import Fleet
from gateway.types import Endpoint, Limit, Policy, Request

Reason = tuple[str, str]


@dataclass
class Ranked:
    """One endpoint that may serve. Dollars and seconds."""

    id: str
    tier: int
    why: Reason | None
    input_usd: float
    output_usd: float
    hit: float
    uncached: float
    ttft: float
    seconds: float
    fails: float
    quality: float
    score: float = 0.0

    @property
    def usd(self) -> float:
        return self.input_usd + self.output_usd

    def plain(self, policy: Policy) -> float:
        return self.usd + policy.score.value_of_time / 3600 * self.seconds + self.quality


@dataclass
class Plan:
    ranked: list[Ranked]
    dropped: dict[str, Reason]
    picked: str


def make_plan(
    request: Request, policy: Policy, fleet: Fleet, now: float, hour: int, chance: Callable[[], float]
) -> Plan:
    demand = fleet.demand(request, now, hour)
    matches = fleet.prefixes.matches(request.prefix, fleet.ttls, now) if policy.affinity == "prefix" else {}
    ranked, dropped = [], {}
    for name, state in fleet.states.items():
        if now >= state.due:
            state.refresh(now)
        if reason := forbidden(state, request, policy, now):
            dropped[name] = reason
        else:
            ranked.append(expected(state, demand, matches.get(name, 0), policy, *tier(state, policy, now)))
    for one in ranked:
        others = [other for other in ranked if other is not one] or [one]
        one.score = score(one, min(others, key=lambda other: (other.plain(policy), other.id)), policy)
    ranked.sort(key=lambda one: (one.tier, one.score, one.id))
    if ranked and ranked[0].tier < 3:
        dropped |= {one.id: one.why for one in ranked if one.tier == 3 and one.why}
        ranked = [one for one in ranked if one.tier < 3]
    first, picked = pick(ranked, policy, not matches, chance)
    if first is not None:
        ranked = [first, *(one for one in ranked if one is not first)]
    return Plan(ranked, dropped, picked)


# --- rules ------------------------------------------------------------------------------------------------------


def forbidden(state: EndpointState, request: Request, policy: Policy, now: float) -> Reason | None:
    endpoint, require = state.endpoint, policy.require
    rules = (
        not_chosen(endpoint, policy),
        incapable(endpoint, request),
        too_small(endpoint, request),
        undeclared(endpoint, policy),
        over_limit(state, require.limits),
        refused(state, request, now),
    )
    return next((reason for reason in rules if reason), None)


def not_chosen(endpoint: Endpoint, policy: Policy) -> Reason | None:
    only, ignore = policy.require.only, policy.require.ignore
    if policy.pick.how == "fixed" and endpoint.id != policy.pick.endpoint:
        return "pick.endpoint", f"the policy is fixed on {policy.pick.endpoint}"
    if only and endpoint.id not in only and endpoint.provider not in only:
        return "require.only", f"only {', '.join(only)}"
    if endpoint.id in ignore or endpoint.provider in ignore:
        return "require.ignore", "named in the policy"
    return None


def incapable(endpoint: Endpoint, request: Request) -> Reason | None:
    missing = sorted(set(request.needs) - set(endpoint.supports))
    return ("capability", f"does not support {', '.join(missing)}") if missing else None


def too_small(endpoint: Endpoint, request: Request) -> Reason | None:
    room = endpoint.context - (request.max_tokens or 1)
    limit = room if endpoint.max_input is None else min(room, endpoint.max_input)
    if request.prompt_tokens > limit:
        return "context", f"about {request.prompt_tokens:,} prompt tokens, takes {max(0, limit):,}"
    if request.max_tokens and endpoint.max_output and request.max_tokens > endpoint.max_output:
        return "max_output", f"{request.max_tokens:,} tokens asked for, gives {endpoint.max_output:,}"
    return None


def undeclared(endpoint: Endpoint, policy: Policy) -> Reason | None:
    require, data = policy.require, endpoint.data
    if require.quantization and endpoint.quantization not in require.quantization:
        return "require.quantization", f"is {endpoint.quantization}, needs {' or '.join(require.quantization)}"
    if require.region and data.region not in require.region:
        return "require.region", f"is {data.region}, needs {' or '.join(require.region)}"
    if require.zdr and data.zdr != "yes":
        return "require.zdr", f"zero data retention is {data.zdr}"
    if require.no_training and data.trains != "no":
        return "require.no_training", f"training on prompts is {data.trains}"
    return None


def over_limit(state: EndpointState, limits: tuple[Limit, ...]) -> Reason | None:
    for limit in limits:
        value = state.figures[limit.measure]
        if value is not None and (value > limit.value if limit.operator == "<=" else value < limit.value):
            return limit.measure, f"is {value:.4g}, needs {limit.operator} {limit.value:g}"
    return None


def refused(state: EndpointState, request: Request, now: float) -> Reason | None:
    parameter = state.refusals.against(request, now)
    return ("refused before", f"refused `{parameter}` less than 10 min ago") if parameter else None


def tier(state: EndpointState, policy: Policy, now: float) -> tuple[int, Reason | None]:
    breaker, most = state.breaker, state.endpoint.limits.concurrency
    if not breaker.allows(now):
        wait = breaker.opens_until() - now
        if wait > 0:
            return 3, ("breaker", f"open after {breaker.why}, next probe in {wait:.0f} s")
        return 3, ("breaker", f"half-open after {breaker.why}, its probe is under way")
    if state.not_before > now:
        return 2, ("rate limit", f"asked to wait another {state.not_before - now:.0f} s")
    if most is not None and state.in_flight >= most:
        return 2, ("limits.concurrency", f"{state.in_flight} of {most} in use")
    missed = over_limit(state, policy.prefer)
    return (1, missed) if missed else (0, None)


# --- dollars and seconds ----------------------------------------------------------------------------------------


def expected(
    state: EndpointState, demand: Demand, matched: int, policy: Policy, level: int, why: Reason | None
) -> Ranked:
    prompt, output = demand.prompt_tokens, demand.output_tokens
    hit = min(1.0, matched / prompt) * state.confirm if prompt else 0.0
    uncached = prompt * (1 - hit)
    p_in, p_cached, p_out = state.price.rates(prompt, demand.hour)
    if policy.score.price == "list":
        p_cached = p_in
    ttft = state.ttft_p50[sum(uncached > size for size in SIZES)]
    return Ranked(
        id=state.endpoint.id,
        tier=level,
        why=why,
        input_usd=(uncached * p_in + prompt * hit * p_cached) / 1e6,
        output_usd=output * p_out / 1e6,
        hit=hit,
        uncached=uncached,
        ttft=ttft,
        seconds=ttft + output / state.speed_p50,
        fails=state.fails,
        quality=(1 - state.tools_ok) * policy.score.quality_cost if demand.tools else 0.0,
    )


def score(one: Ranked, next_best: Ranked, policy: Policy) -> float:
    weights, q = policy.score, one.fails
    seconds = (1 - q) * one.seconds + q * (one.ttft + next_best.seconds)
    failing = q * (weights.failure_cost + next_best.usd)
    return one.usd + weights.value_of_time / 3600 * seconds + failing + one.quality


# --- the pick ---------------------------------------------------------------------------------------------------


def pick(ranked: list[Ranked], policy: Policy, new: bool, chance: Callable[[], float]) -> tuple[Ranked | None, str]:
    how, explore, edge = policy.pick.how, policy.pick.explore, policy.pick.edge
    if not ranked or how == "fixed":
        return None, how if ranked else "none"
    top = [one for one in ranked if one.tier == ranked[0].tier]
    if len(top) == 1:
        return None, "only"
    if new and explore and chance() < explore:
        affordable = [one for one in top if one.usd <= top[0].usd + 0.002]
        return affordable[int(chance() * len(affordable))], "explore"
    if how == "best":
        return None, "best"
    near = [one for one in top if one.score <= top[0].score * (1 + edge)]
    return (near[0] if len(near) == 1 else drawn(near, chance())), "sample"


def drawn(near: list[Ranked], chance: float) -> Ranked:
    weights = [max(one.score, 1e-12) ** -2 for one in near]
    target = chance * sum(weights)
    for one, weight in zip(near, weights, strict=True):
        target -= weight
        if target < 0:
            return one
    return near[-1]
