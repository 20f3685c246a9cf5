"""Why an endpoint cannot, or should not yet, serve a request.

Hard reasons drop it: what the policy requires, what the request needs, what the host declares. Soft reasons only put
it behind the others: a missed preference, a 429 that asked to wait, an open breaker. Measured limits pass while there
are too few samples; declared ones fail when unknown.
"""

from dataclasses import dataclass
from enum import IntEnum

from gateway.route.endpoint import EndpointState
from gateway.route.health import State
from gateway.types import Endpoint, Limit, Policy, Request, Require

ANSWER_ROOM = 1  # tokens that must be left for an answer when the client sets no limit


@dataclass(frozen=True, slots=True)
class Reason:
    """Which rule, and the figures behind it, in words for a person."""

    rule: str
    detail: str


class Tier(IntEnum):
    """How willingly an endpoint is used. Higher tiers are tried after lower ones."""

    GOOD = 0
    MISSED_PREFERENCE = 1
    BUSY = 2  # a 429 asked to wait, or its concurrency limit is reached
    BREAKER_OPEN = 3


_GOOD = (Tier.GOOD, None)


def forbidden(state: EndpointState, request: Request, policy: Policy, now: float) -> Reason | None:
    """The hard rule that keeps this endpoint from this request, if any."""
    return (
        _not_chosen(state.endpoint, policy)
        or _incapable(state.endpoint, request)
        or _too_small(state.endpoint, request)
        or _undeclared(state.endpoint, policy.require)
        or _over_limit(state, policy.require.limits)
        or _refused_before(state, request, now)
    )


def tier(state: EndpointState, policy: Policy, now: float) -> tuple[Tier, Reason | None]:
    """How willingly this endpoint is used, and why not more so."""
    if not state.breaker.allows(now):
        return Tier.BREAKER_OPEN, _opened(state, now)
    if state.not_before > now:
        return Tier.BUSY, Reason("rate limit", f"asked to wait another {state.not_before - now:.0f} s")
    concurrency = state.endpoint.limits.concurrency
    if concurrency is not None and state.in_flight >= concurrency:
        return Tier.BUSY, Reason("limits.concurrency", f"{state.in_flight} of {concurrency} in use")
    missed = _over_limit(state, policy.prefer)
    return (Tier.MISSED_PREFERENCE, missed) if missed else _GOOD


def _opened(state: EndpointState, now: float) -> Reason:
    breaker = state.breaker
    if breaker.state(now) is State.OPEN:
        return Reason("breaker", f"open after {breaker.why}, next probe in {breaker.opens_until() - now:.0f} s")
    return Reason("breaker", f"half-open after {breaker.why}, its probe is under way")


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


def _incapable(endpoint: Endpoint, request: Request) -> Reason | None:
    if request.needs.issubset(endpoint.supports):
        return None
    missing = request.needs.difference(endpoint.supports)
    return Reason("capability", f"does not support {', '.join(sorted(missing))}")


def _too_small(endpoint: Endpoint, request: Request) -> Reason | None:
    room = endpoint.context - (request.max_tokens or ANSWER_ROOM)
    limit = room if endpoint.max_input is None else min(room, endpoint.max_input)
    if request.prompt_tokens > limit:
        return Reason("context", f"about {request.prompt_tokens:,} prompt tokens, takes {max(0, limit):,}")
    if request.max_tokens and endpoint.max_output and request.max_tokens > endpoint.max_output:
        return Reason("max_output", f"{request.max_tokens:,} tokens asked for, gives {endpoint.max_output:,}")
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


def _over_limit(state: EndpointState, limits: tuple[Limit, ...]) -> Reason | None:
    for limit in limits:
        value = state.figures[limit.measure]
        if value is None:
            continue
        if value > limit.value if limit.operator == "<=" else value < limit.value:
            return Reason(limit.measure, f"is {value:.4g}, needs {limit.operator} {limit.value:g}")
    return None


def _refused_before(state: EndpointState, request: Request, now: float) -> Reason | None:
    parameter = state.refusals.against(request, now)
    return Reason("refused before", f"refused `{parameter}` less than 10 min ago") if parameter else None
