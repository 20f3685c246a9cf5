"""A plan made plainly: every rule asked for every endpoint, every time, nothing kept from one request to the next.

It shares with the real one what was learned (the states and the prefix index) and nothing of the deciding. Reasons are
(rule, detail), tiers are numbers: 0 good, 1 missed preference, 2 missed objective, 3 over the cap, 4 outlier, 5 busy,
6 breaker open.
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
    reread: float
    toll: float
    score: float = 0.0

    @property
    def usd(self) -> float:
        return self.input_usd + self.output_usd

    def plain(self, policy: Policy) -> float:
        return self.usd + policy.score.value_of_time / 3600 * self.seconds + self.quality + self.reread + self.toll


@dataclass
class Plan:
    ranked: list[Ranked]
    dropped: dict[str, Reason]
    picked: str


def make_plan(
    request: Request, policy: Policy, fleet: Fleet, now: float, hour: int, chance: Callable[[], float]
) -> Plan:
    looks = policy.affinity != "none" and bool(request.prefix)
    matches = fleet.prefixes.matches(request.prefix, fleet.ttls, now) if looks else {}
    known = max([0, *matches.values()])
    demand = fleet.demand(request, policy, known if looks else None, now, hour)
    ranked, dropped = [], {}
    fleet.refresh(now)
    for name, state in fleet.states.items():
        if reason := forbidden(state, request, policy, now):
            dropped[name] = reason
        else:
            level, why = tier(state, policy, now)
            if level < 3 and (too_much := over_cap(name, demand, matches.get(name, 0), now)):
                level, why = 3, too_much
            ranked.append(expected(state, demand, matches.get(name, 0), policy, level, why))
    for one in ranked:
        others = [other for other in ranked if other is not one] or [one]
        one.score = score(one, min(others, key=lambda other: (other.plain(policy), other.id)), policy)
    ranked.sort(key=lambda one: (one.tier, place(fleet.states[one.id], policy), one.score, one.id))
    if ranked and ranked[0].tier < 6:
        dropped |= {one.id: one.why for one in ranked if one.tier == 6 and one.why}
        ranked = [one for one in ranked if one.tier < 6]
    new = known < request.prompt_tokens / 2
    unknown = {name for name, state in fleet.states.items() if state.figures["uptime_1h"] is None}
    first, picked = pick(ranked, policy, unknown if new else None, chance)
    if first is not None:
        ranked = [first, *(one for one in ranked if one is not first)]
    return Plan(ranked, dropped, picked)


# --- rules ------------------------------------------------------------------------------------------------------


def forbidden(state: EndpointState, request: Request, policy: Policy, now: float) -> Reason | None:
    endpoint, require = state.endpoint, policy.require
    rules = (
        not_chosen(endpoint, policy),
        incapable(endpoint, request),
        undeclared(endpoint, policy),
        over_limit(state, require.limits),
        too_small(endpoint, request),
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
    breaker, most, rates, standing = state.breaker, state.endpoint.limits.concurrency, state.rate_limit, state.standing
    if not breaker.allows(now):
        wait = breaker.opens_until() - now
        if wait > 0:
            return 6, ("breaker", f"open after {breaker.why}, next probe in {wait:.0f} s")
        return 6, ("breaker", f"half-open after {breaker.why}, its probe is under way")
    if rates.until > now:
        return 5, ("rate limit", f"{rates.why}; for another {rates.until - now:.0f} s")
    if most is not None and state.in_flight >= most == state.concurrency:
        return 5, ("limits.concurrency", f"{state.in_flight} of {most} in use")
    if state.in_flight >= state.concurrency:
        return 5, ("slow start", f"{state.in_flight} of {state.concurrency:.0f} at once, until it has proved itself")
    if standing.until > now:
        return 4, ("outlier", f"{standing.why}; for another {standing.until - now:.0f} s")
    if missed := over_limit(state, policy.slo):
        return 2, missed
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
    crowded = state.crowd.factor(state.in_flight + 1)
    ttft = state.ttft_mean[sum(uncached > size for size in SIZES)] * crowded
    return Ranked(
        id=state.endpoint.id,
        tier=level,
        why=why,
        input_usd=(uncached * p_in + prompt * hit * p_cached) / 1e6,
        output_usd=output * p_out / 1e6,
        hit=hit,
        uncached=uncached,
        ttft=ttft,
        seconds=ttft + output * state.token_mean * crowded,
        fails=state.fails,
        quality=(1 - state.tools_ok) * policy.score.quality_cost if demand.tools else 0.0,
        reread=demand.rereads * prompt * (p_in - (state.confirm if state.ttl else 0.0) * (p_in - p_cached)) / 1e6,
        toll=demand.toll.rates.get(state.endpoint.id, 0.0) * (prompt + output) if demand.toll else 0.0,
    )


def score(one: Ranked, next_best: Ranked, policy: Policy) -> float:
    weights, q = policy.score, one.fails
    seconds = (1 - q) * one.seconds + q * (one.ttft + next_best.seconds)
    failing = q * (weights.failure_cost + next_best.usd)
    return one.usd + weights.value_of_time / 3600 * seconds + failing + one.quality + one.reread + one.toll


def over_cap(name: str, demand: Demand, matched: int, now: float) -> Reason | None:
    toll = demand.toll
    if toll is None:
        return None
    known = demand.prompt_tokens <= 2 * matched
    if name not in toll.full(demand.prompt_tokens + demand.output_tokens, now, 1.0 if known else 0.8):
        return None
    return "cap.share", f"has {toll.share(name):.0%} of the policy's tokens, may have {toll.rule.share:.0%}"


def place(state: EndpointState, policy: Policy) -> float:
    """Before the score."""
    pick, names = policy.pick, (state.endpoint.id, state.endpoint.provider)
    if pick.how == "order":
        return min([index for index, name in enumerate(pick.order) if name in names], default=len(pick.order))
    return {"latency": state.ttft_p50[0], "throughput": -state.speed_p50}.get(pick.how, 0)


# --- the pick ---------------------------------------------------------------------------------------------------


def pick(
    ranked: list[Ranked], policy: Policy, unknown: set[str] | None, chance: Callable[[], float]
) -> tuple[Ranked | None, str]:
    how, explore, edge = policy.pick.how, policy.pick.explore, policy.pick.edge
    if not ranked or how not in ("sample", "best"):
        return None, how if ranked else "none"
    top = [one for one in ranked if one.tier == ranked[0].tier]
    if len(top) == 1:
        return None, "only"
    affordable = [one for one in top if one.id in (unknown or ()) and one.score <= top[0].score + 0.0005]
    if unknown is not None and explore and chance() < explore and affordable:
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
