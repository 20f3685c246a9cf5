"""Why an endpoint cannot serve a request, or should be tried after others.

Hard reasons drop it: what the policy requires, what the request needs, what the host declares. Soft reasons only put
it behind the others: a missed preference or objective, a shorter answer than `max_tokens`, a cap that is reached,
being an outlier, silent or busy, what it will probably refuse, an open breaker; in that order they are given up when
nothing better is left. Limits on latency are about one request (`late_for`), the other measured ones about the
endpoint (`over_limit`); declared ones fail when unknown. How many tokens a prompt has is estimated: an endpoint that is
too small by less than the estimate's error is only ranked lower.
"""

from enum import IntEnum
from typing import NamedTuple

from gateway.route.breaker import State
from gateway.route.endpoint_state import EndpointState
from gateway.route.latency import expected, is_latency
from gateway.route.refusals import Digests
from gateway.route.toll import Toll
from gateway.types import FAULTS, Endpoint, Limit, Policy, Request, Require, gives_less, most_output

CONTEXT = "context"  # the rule that an endpoint is too small; checked last, so that a shorter prompt could go there
JSON_FORMATS = ("json_object", "json_schema")  # types of `response_format`, and what endpoints call their support
WHOLE_FROM = 1_000  # figures are shown without a fraction
ANSWER_ROOM = 1  # tokens that must be left for an answer when the client sets no limit


class Reason(NamedTuple):
    """Which rule, and the figures behind it, in words for a person."""

    rule: str
    detail: str


class Dropped(NamedTuple):
    """One endpoint that may not serve the request."""

    endpoint: Endpoint
    reason: Reason


class Tier(IntEnum):
    """The priority of an endpoint. Higher tiers are tried after lower ones."""

    GOOD = 0
    MISSED_PREFERENCE = 1
    MISSED_SLO = 2
    SHORTER_ANSWER = 3  # gives fewer tokens than the request allows
    OVER_CAP = 4  # above its share of the policy's tokens
    OUTLIER = 5  # recently far worse than its peers, or silent
    BUSY = 6  # a Retry-After holds, or its rate limit or concurrency limit is reached
    LIKELY_REFUSAL = 7  # it recently rejected the same, or the prompt is about as long as its context
    BREAKER_OPEN = 8

    @property
    def words(self) -> str:
        """Its name, for people and labels."""
        return self.name.lower().replace("_", " ")


def hard_reason(state: EndpointState, request: Request, policy: Policy) -> Reason | None:
    """The hard rule that drops this endpoint for this request, if any; limits on latency left out."""
    return (
        incapable(state.endpoint, policy, request.needs)
        or violates_policy(state, policy.require)
        or too_small(state.endpoint, request)
    )


def incapable(endpoint: Endpoint, policy: Policy, needs: frozenset[str]) -> Reason | None:
    """Why the policy does not choose this endpoint, or what the request needs and it does not support."""
    return _not_chosen(endpoint, policy) or _lacks(endpoint, needs)


def too_small(endpoint: Endpoint, request: Request) -> Reason | None:
    """Why the prompt is too long for this endpoint, also if the estimate is off by `doubt`."""
    most = room(endpoint, request)
    return _too_long(request, most) if request.prompt_tokens > most * (1 + request.doubt) else None


def sized(endpoint: Endpoint, request: Request) -> tuple[Tier, Reason | None]:
    """The tier of an endpoint whose limits are close to the request's size."""
    most = room(endpoint, request)
    if request.prompt_tokens > most:
        return Tier.LIKELY_REFUSAL, _too_long(request, most)
    if gives_less(endpoint, request):
        detail = f"{request.max_tokens:,} tokens asked for, gives {endpoint.max_output:,}"
        return Tier.SHORTER_ANSWER, Reason("max_output", detail)
    return Tier.GOOD, None


def room(endpoint: Endpoint, request: Request) -> int:
    """Tokens of the longest prompt that fits with the answer's `max_tokens`; below 0 where none fits."""
    left = endpoint.context - (most_output(endpoint, request) or ANSWER_ROOM)
    return left if endpoint.max_input is None else min(left, endpoint.max_input)


def _too_long(request: Request, most: int) -> Reason:
    return Reason(CONTEXT, f"about {request.prompt_tokens:,} prompt tokens, takes {max(0, most):,}")


def violates_policy(state: EndpointState, require: Require) -> Reason | None:
    """The requirement of a policy that this endpoint does not declare, or misses by its figures."""
    return _undeclared(state.endpoint, require) or over_limit(state, require.limits)


def over_limit(state: EndpointState, limits: tuple[Limit, ...]) -> Reason | None:
    """The first of these limits that the endpoint's figures miss, those on latency left out."""
    for limit in limits:
        value = None if is_latency(limit) else state.figures[limit.measure]
        if value is not None and _misses(value, limit):
            return Reason(limit.measure, f"is {_figure(value)}, needs {limit.operator} {_figure(limit.value)}")
    return None


def late_for(state: EndpointState, limits: tuple[Limit, ...], size: int, pace: float) -> Reason | None:
    """The first of these limits, all on latency, that a request of this size class and pace is expected to miss."""
    for limit in limits:
        value = expected(state, limit.measure, size, pace)
        if _misses(value, limit):
            wanted = f"{limit.operator} {_figure(limit.value)}"
            return Reason(limit.measure, f"is {_figure(value)} for this prompt, needs {wanted}")
    return None


def _misses(value: float, limit: Limit) -> bool:
    return value > limit.value if limit.operator == "<=" else value < limit.value


def _figure(value: float) -> str:
    """With four digits, or whole where it has more: 0.9875, 131,072."""
    return f"{value:,.0f}" if abs(value) >= WHOLE_FROM else f"{value:.4g}"


def refused_before(state: EndpointState, request: Request, now: float, digests: Digests) -> Reason | None:
    """The parameter of this request that the endpoint recently rejected."""
    parameter = state.refusals.against(request, now, digests)
    return Reason("refused before", f"refused such a `{parameter}` less than 10 min ago") if parameter else None


def tier(state: EndpointState, policy: Policy, now: float) -> tuple[Tier, Reason | None]:
    """The tier of this endpoint, with the reason where it is not the best."""
    if not state.breaker.allows(now):
        return Tier.BREAKER_OPEN, _opened(state, now)
    if state.rate_limit.until > now:
        return Tier.BUSY, _waiting("rate limit", state.rate_limit.why, state.rate_limit.until - now)
    if state.in_flight >= state.concurrency:
        return Tier.BUSY, _full(state)
    if state.standing.until > now:
        return Tier.OUTLIER, _waiting("outlier", state.standing.why, state.standing.until - now)
    if state.silence.silent:
        return Tier.OUTLIER, Reason("silent", state.silence.why)
    return usual_tier(state, policy)


def usual_tier(state: EndpointState, policy: Policy) -> tuple[Tier, Reason | None]:
    """The same by figures alone, which change rarely."""
    if missed := over_limit(state, policy.slo):
        return Tier.MISSED_SLO, missed
    missed = over_limit(state, policy.prefer)
    return Tier.MISSED_PREFERENCE if missed else Tier.GOOD, missed


def over_cap(toll: Toll, endpoint: str) -> Reason:
    """The reason against an endpoint above its share of a cap."""
    return Reason("cap.share", f"has {toll.share(endpoint):.0%} of the policy's tokens, may have {toll.rule.share:.0%}")


def _waiting(rule: str, why: str, seconds: float) -> Reason:
    return Reason(rule, f"{why}; for another {seconds:.0f} s")


def _full(state: EndpointState) -> Reason:
    if state.ramping:
        return Reason("slow start", f"{state.in_flight} of {state.concurrency:.0f} at once, until it has proved itself")
    most, own = state.endpoint.limits.concurrency, state.concurrency
    part = "" if own == most else f", this worker's part of {most}"
    return Reason("limits.concurrency", f"{state.in_flight} of {own:.0f} in use{part}")


def _opened(state: EndpointState, now: float) -> Reason:
    breaker = state.breaker
    name, _, more = breaker.why.partition(" ")
    fault = FAULTS.get(name)
    why = f"{name if fault is None else fault.words} {more}".rstrip()
    if breaker.state(now) is State.OPEN:
        return Reason("breaker", f"open after {why}, next probe in {breaker.opens_until() - now:.0f} s")
    return Reason("breaker", f"half-open after {why}, its probe is under way")


def _not_chosen(endpoint: Endpoint, policy: Policy) -> Reason | None:
    require = policy.require
    if policy.pick.how == "fixed" and endpoint.id != policy.pick.endpoint:
        return Reason("pick.endpoint", f"the policy is fixed on {policy.pick.endpoint}")
    if require.only and not _named(endpoint, require.only):
        return Reason("require.only", f"only {', '.join(require.only)}")
    if require.ignore and _named(endpoint, require.ignore):
        return Reason("require.ignore", "named in the policy")
    return None


def _named(endpoint: Endpoint, names: tuple[str, ...]) -> bool:
    """Whether a list of endpoint ids and providers means this endpoint."""
    return endpoint.id in names or endpoint.provider in names


def _lacks(endpoint: Endpoint, needs: frozenset[str]) -> Reason | None:
    missing = needs.difference(endpoint.supports)
    if missing:
        return Reason("capability", f"does not support {', '.join(sorted(missing))}")
    if endpoint.dialect.tools_or_format and "tools" in needs and not needs.isdisjoint(JSON_FORMATS):
        return Reason("capability", "refuses tools together with response_format")
    return None


def _undeclared(endpoint: Endpoint, require: Require) -> Reason | None:
    if require.quantization and endpoint.quantization not in require.quantization:
        return Reason("require.quantization", f"is {endpoint.quantization}, needs {' or '.join(require.quantization)}")
    if require.region and endpoint.data.region not in require.region:
        return Reason("require.region", f"is {endpoint.data.region}, needs {' or '.join(require.region)}")
    if require.zdr and endpoint.data.zdr != "yes":
        return Reason("require.zdr", f"zero data retention is {endpoint.data.zdr}")
    if require.no_training and endpoint.data.trains != "no":
        return Reason("require.no_training", f"training on prompts is {endpoint.data.trains}")
    return None
