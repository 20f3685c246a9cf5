"""A plan made plainly: every rule asked for every endpoint, every time, nothing kept from one request to the next.

It shares with the real one what was learned (the states, the prefix index, what was saved for explorations) and nothing
of the deciding. Reasons are (rule, detail), tiers are numbers: 0 good, 1 missed preference, 2 missed objective, 3 a
shorter answer, 4 over the cap, 5 outlier or silent, 6 busy, 7 a likely refusal, 8 breaker open.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.route.cost import Demand
from gateway.route.endpoint_state import EndpointState
from gateway.route.explore import FEW_OF_FAR, Explorer
from gateway.route.fleet import Fleet
from gateway.types import FAULTS, Endpoint, Limit, Policy, Request

Reason = tuple[str, str]
TTFT = ("ttft_p50", "ttft_p75", "ttft_p90", "ttft_p95", "ttft_p99")
SPEED = ("throughput_p50", "throughput_p75", "throughput_p90", "throughput_p99")


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
    time: float  # what its seconds cost, missed preferences included
    miss: float
    score: float = 0.0

    @property
    def usd(self) -> float:
        return self.input_usd + self.output_usd

    @property
    def plain(self) -> float:
        return self.usd + self.time + self.quality + self.reread + self.toll


@dataclass
class Plan:
    ranked: list[Ranked]
    dropped: dict[str, Reason]
    picked: str
    odds: dict[str, float] = field(default_factory=dict)


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
        reason = forbidden(state, request, policy)
        reason = reason or late(state, demand, matches.get(name, 0), policy.require.limits)
        if reason:
            dropped[name] = reason
            continue
        level, why = tier(state, policy, now)
        for worse, reason in ((7, tight(state.endpoint, request)), (3, shorter(state.endpoint, request))):
            if reason and level < worse:
                level, why = worse, reason
        if level < 7 and (before := refused(state, request, now)):
            level, why = 7, before
        if level < 4 and (too_much := over_cap(name, demand, matches.get(name, 0), now)):
            level, why = 4, too_much
        if level < 2 and (missed := late(state, demand, matches.get(name, 0), policy.slo)):
            level, why = 2, missed
        ranked.append(expected(state, demand, matches.get(name, 0), policy, level, why))
    for one in ranked:
        others = [other for other in ranked if other is not one] or [one]
        one.score = score(one, min(others, key=lambda other: (other.plain, other.id)), policy)
    ranked.sort(key=lambda one: (one.tier, place(fleet.states[one.id], policy), one.score, one.id))
    if ranked and (ranked[0].tier < 7 or request.other_models):
        dropped |= {one.id: one.why for one in ranked if one.tier == 8 and one.why}
        ranked = [one for one in ranked if one.tier < 8]
    stays = known > 0 and known >= (request.opening or request.prompt_tokens / 2)
    return picked(ranked, dropped, matches if stays else None, policy, fleet, chance)


# --- rules ------------------------------------------------------------------------------------------------------


def forbidden(state: EndpointState, request: Request, policy: Policy) -> Reason | None:
    endpoint, require = state.endpoint, policy.require
    rules = (
        not_chosen(endpoint, policy),
        incapable(endpoint, request),
        undeclared(endpoint, policy),
        over_limit(state, require.limits),
        too_small(endpoint, request),
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


def takes(endpoint: Endpoint, request: Request) -> int:
    answer = min(request.max_tokens or 1, endpoint.max_output or 10**12)
    return min(endpoint.context - answer, endpoint.max_input or 10**12)


def too_small(endpoint: Endpoint, request: Request) -> Reason | None:
    return tight(endpoint, request) if request.prompt_tokens > takes(endpoint, request) * (1 + request.doubt) else None


def tight(endpoint: Endpoint, request: Request) -> Reason | None:
    most = takes(endpoint, request)
    if request.prompt_tokens <= most:
        return None
    return "context", f"about {request.prompt_tokens:,} prompt tokens, takes {max(0, most):,}"


def shorter(endpoint: Endpoint, request: Request) -> Reason | None:
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
        value = None if limit.measure in TTFT + SPEED else state.figures[limit.measure]
        if value is not None and (value > limit.value if limit.operator == "<=" else value < limit.value):
            return limit.measure, f"is {figure(value)}, needs {limit.operator} {figure(limit.value)}"
    return None


def late(state: EndpointState, demand: Demand, matched: int, limits: tuple[Limit, ...]) -> Reason | None:
    """The limit on latency that this prompt is expected to miss here."""
    for limit in limits:
        if limit.measure in TTFT:
            value = first_token(state, TTFT.index(limit.measure), uncached(state, demand, matched))
        elif limit.measure in SPEED:
            value = speed(state, SPEED.index(limit.measure))
        else:
            continue
        if value > limit.value if limit.operator == "<=" else value < limit.value:
            return limit.measure, f"is {figure(value)} for this prompt, needs {limit.operator} {figure(limit.value)}"
    return None


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def refused(state: EndpointState, request: Request, now: float) -> Reason | None:
    parameter = state.refusals.against(request, now, {})
    return ("refused before", f"refused such a `{parameter}` less than 10 min ago") if parameter else None


def tier(state: EndpointState, policy: Policy, now: float) -> tuple[int, Reason | None]:
    breaker, most, rates, standing = state.breaker, state.endpoint.limits.concurrency, state.rate_limit, state.standing
    if not breaker.allows(now):
        wait, (fault, *more) = breaker.opens_until() - now, breaker.why.split(" ")
        why = " ".join([FAULTS[fault].words if fault in FAULTS else fault, *more])
        if wait > 0:
            return 8, ("breaker", f"open after {why}, next probe in {wait:.0f} s")
        return 8, ("breaker", f"half-open after {why}, its probe is under way")
    if rates.until > now:
        return 6, ("rate limit", f"{rates.why}; for another {rates.until - now:.0f} s")
    if most is not None and state.in_flight >= most == state.concurrency:
        return 6, ("limits.concurrency", f"{state.in_flight} of {most} in use")
    if state.in_flight >= state.concurrency:
        return 6, ("slow start", f"{state.in_flight} of {state.concurrency:.0f} at once, until it has proved itself")
    if standing.until > now:
        return 5, ("outlier", f"{standing.why}; for another {standing.until - now:.0f} s")
    if state.silence.silent:
        return 5, ("silent", state.silence.why)
    if missed := over_limit(state, policy.slo):
        return 2, missed
    missed = over_limit(state, policy.prefer)
    return (1, missed) if missed else (0, None)


# --- dollars and seconds ----------------------------------------------------------------------------------------


def uncached(state: EndpointState, demand: Demand, matched: int) -> float:
    return demand.prompt_tokens * (1 - hit(state, demand, matched))


def hit(state: EndpointState, demand: Demand, matched: int) -> float:
    return min(1.0, matched / demand.prompt_tokens) * hit_rate(state) if demand.prompt_tokens else 0.0


def hit_rate(state: EndpointState) -> float:
    return state.hit_rate if state.ttl else 0.0


def size_class(tokens: float) -> int:
    return sum(tokens > most for most in (2_000, 8_000, 32_000))


def pace(state: EndpointState, tokens: float) -> float:
    """Seconds that a ratio of 1 stands for, with one more request than there are."""
    return (1 + tokens / 8_000) * state.waits.load.factor(state.in_flight + state.elsewhere + 1)


def first_token(state: EndpointState, quantile: int, tokens: float) -> float:
    return state.waits.quantiles[quantile][size_class(tokens)] * pace(state, tokens)


def slowed(state: EndpointState) -> float:
    return state.speeds.load.factor(state.in_flight + state.elsewhere + 1)


def speed(state: EndpointState, share: int) -> float:
    return state.speeds.quantiles[share] / slowed(state)


def seconds_over(state: EndpointState, limit: Limit, tokens: float, output: float) -> float:
    """By how many seconds a request misses this limit, if it is about latency."""
    if limit.measure in TTFT:
        more = first_token(state, TTFT.index(limit.measure), tokens) - limit.value
    elif limit.measure in SPEED and limit.value:
        more = output / limit.value - output / speed(state, SPEED.index(limit.measure))
    else:
        more = 0.0
    return max(0.0, more if limit.operator == "<=" else -more)


def expected(
    state: EndpointState, demand: Demand, matched: int, policy: Policy, level: int, why: Reason | None
) -> Ranked:
    prompt, output, weights = demand.prompt_tokens, demand.output_tokens, policy.score
    cached, tokens = hit(state, demand, matched), uncached(state, demand, matched)
    p_in, p_cached, p_out = state.price.rates(prompt, demand.hour)
    if weights.price == "list":
        p_cached = p_in
    ttft = state.waits.mean[size_class(tokens)] * pace(state, tokens)
    seconds = ttft + output * state.speeds.token_s * slowed(state)
    over = sum(seconds_over(state, limit, tokens, output) for limit in (*policy.prefer, *policy.slo))
    an_hour_over = max(10 * weights.value_of_time, 1.0) if weights.miss_cost is None else weights.miss_cost
    miss = an_hour_over / 3600 * over
    return Ranked(
        id=state.endpoint.id,
        tier=level,
        why=why,
        input_usd=(tokens * p_in + prompt * cached * p_cached) / 1e6,
        output_usd=output * p_out / 1e6,
        hit=cached,
        uncached=tokens,
        ttft=ttft,
        seconds=seconds,
        fails=state.fails,
        quality=(1 - state.tools_ok) * weights.quality_cost if demand.tools else 0.0,
        reread=demand.rereads * prompt * (p_in - hit_rate(state) * (p_in - p_cached)) / 1e6,
        toll=demand.toll.rates.get(state.endpoint.id, 0.0) * (prompt + output) if demand.toll else 0.0,
        time=weights.value_of_time / 3600 * seconds + miss,
        miss=miss,
    )


def score(one: Ranked, next_best: Ranked, policy: Policy) -> float:
    """If it goes well, and with the next best one after a failure, which is noticed at the first token."""
    weights, q = policy.score, one.fails
    failing = weights.failure_cost + next_best.usd
    waiting = weights.value_of_time / 3600 * (one.ttft + next_best.seconds - one.seconds)
    return one.plain + q * (failing + waiting)


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
    if pick.how == "latency":
        return state.waits.p50[0] * (1 + 1_000 / 8_000)
    return -state.speeds.p50 if pick.how == "throughput" else 0


# --- the pick ---------------------------------------------------------------------------------------------------


def picked(
    ranked: list[Ranked],
    dropped: dict[str, Reason],
    held: Mapping[str, int] | None,
    policy: Policy,
    fleet: Fleet,
    chance: Callable[[], float],
) -> Plan:
    how = policy.pick.how
    top = [one for one in ranked if one.tier == ranked[0].tier]
    if not ranked or how not in ("sample", "best"):
        return Plan(ranked, dropped, how if ranked else "none")
    if len(top) == 1:
        return Plan(ranked, dropped, "only")
    if held is not None:
        equal = [one for one in top if one.score <= top[0].score * (1 + 1e-9)]
        home = max(equal, key=lambda one: held.get(one.id, 0))
        how = "stays" if held.get(home.id) else "best"
        return Plan([home, *(one for one in ranked if one is not home)], dropped, how)
    explorer = fleet.explorers.of(policy)
    if explorer and (weights := explorable(top, explorer, fleet)):
        how = "explore"
    elif how == "sample":
        near = [one for one in top if one.score <= top[0].score * (1 + policy.pick.edge)] or top[:1]
        weights = [(one, max(one.score, 1e-12) ** -2) for one in near]
    else:
        return Plan(ranked, dropped, "best")
    if len(weights) == 1:
        first, odds = weights[0][0], {}
    else:
        total = sum(weight for _, weight in weights)
        first, odds = drawn(weights, chance() * total), {one.id: weight / total for one, weight in weights}
    return Plan([first, *(one for one in ranked if one is not first)], dropped, how, odds)


def explorable(top: list[Ranked], explorer: Explorer, fleet: Fleet) -> list[tuple[Ranked, float]]:
    """Those with few recent answers that are, or may be, nearly as good as the best."""
    best, shortest = top[0].score, min(one.time for one in top)
    found = []
    for one in top if explorer.saved >= 1 else []:
        state = fleet.states[one.id]
        hoped = one.score if state.speeds.known else one.score - one.time + shortest
        few = FEW_OF_FAR if state.speeds.known and one.score > 1.2 * best else 5
        if state.recent < few and hoped <= best + min(0.5 * best, 0.5 * explorer.usual):
            found.append((one, 1 / (1 + state.recent) / (1 + state.attempted)))
    return found


def drawn(weights: list[tuple[Ranked, float]], target: float) -> Ranked:
    for one, weight in weights:
        target -= weight
        if target < 0:
            return one
    return weights[-1][0]
