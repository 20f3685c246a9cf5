"""One endpoint as the page shows it: its facts, and its state in words that people use.

retired    the catalogue says that the host has ended it
unused     something is missing: a key, an address, a price
set back   not used now: an open breaker, a rate limit, far worse than its peers, silent; or ruled out by every policy
on trial   one request at a time, or a few, until it has shown that it works again
in use     everything else
"""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.config import why_unusable
from gateway.page.page_types import EndpointCondition, EndpointPage, PolicyPick, ShownPrice
from gateway.route.breaker import State
from gateway.route.endpoint_state import EndpointState
from gateway.types import FAULTS, Endpoint, Price


class Condition(NamedTuple):
    """A state, why, and until when (monotonic seconds; None where that is not known)."""

    state: EndpointCondition
    why: str = ""
    until: float | None = None


def shown_endpoint(
    endpoint: Endpoint,
    state: EndpointState | None,
    picks: Mapping[str, PolicyPick],
    secrets: Mapping[str, str],
    now: float,
    wall_time: float,
) -> EndpointPage:
    """`state` is None for an endpoint that is not in use; its own endpoint has the prices of this moment. `now` in
    monotonic seconds."""
    endpoint = state.endpoint if state else endpoint
    found = _unused(endpoint, secrets) if state is None else condition(state, picks, now)
    return EndpointPage(
        id=endpoint.id,
        name=endpoint.name or endpoint.provider,
        provider=endpoint.provider,
        quantization=endpoint.quantization,
        context=endpoint.context,
        max_output=endpoint.max_output,
        price=_list_price(endpoint.price),
        in_flight=state.in_flight + state.elsewhere if state else 0,
        state=found.state,
        why=found.why,
        until=None if found.until is None else round(wall_time + found.until - now, 1),
        published_uptime=endpoint.priors.uptime,
        simulated=endpoint.simulated,
        capabilities=list(endpoint.supports),
        set=_missing_key(endpoint, secrets) if found.state == "unused" else None,
    )


def condition(state: EndpointState, picks: Mapping[str, PolicyPick], now: float) -> Condition:
    """The state of an endpoint in use."""
    breaker, limit = state.breaker, state.rate_limit
    if breaker.state(now) is State.OPEN:
        return Condition("set back", f"after {_faults(breaker.why)}", breaker.opens_until())
    if limit.until > now:
        return Condition("set back", limit.why, limit.until)
    if state.standing.until > now:
        return Condition("set back", state.standing.why, state.standing.until)
    if state.silence.silent:
        return Condition("set back", state.silence.why)
    if breaker.state(now) is State.HALF_OPEN:
        return Condition("on trial", f"one request at a time, after {_faults(breaker.why)}")
    if state.ramping:
        return Condition("on trial", "a few requests at once, until enough of them have succeeded")
    return _by_policies(state.endpoint.id, picks)


def _by_policies(endpoint: str, picks: Mapping[str, PolicyPick]) -> Condition:
    """Set back if every policy in force drops it, even the least strict one."""
    rules = [[one.rule for one in pick.dropped if one.endpoint == endpoint] for pick in picks.values()]
    if rules and all(rules):
        return Condition("set back", f"every policy in force rules it out, as by {rules[0][0]}")
    return Condition("in use")


def _faults(why: str) -> str:
    """The fault that opened a breaker, in words; it may be followed by where that was seen."""
    name, _, where = why.partition(" ")
    return f"{FAULTS[name].words if name in FAULTS else name} {where}".rstrip()


def _unused(endpoint: Endpoint, secrets: Mapping[str, str]) -> Condition:
    if endpoint.status == "retired":
        return Condition("retired", endpoint.note or (f"since {endpoint.retires}" if endpoint.retires else ""))
    return Condition("unused", why_unusable(endpoint, secrets) or "")


def _missing_key(endpoint: Endpoint, secrets: Mapping[str, str]) -> str | None:
    """The environment variable to set; None if the endpoint is incomplete in other ways, too."""
    variable = endpoint.api_key_env
    lacks_key = bool(variable) and why_unusable(endpoint, secrets) == f"set {variable}"
    return variable if lacks_key else None


def _list_price(price: Price | None) -> ShownPrice | None:
    if price is None:
        return None
    cached = price.input if price.cached_input is None else price.cached_input
    return ShownPrice(price.input, cached, price.output, price.as_of)
