"""All data of the model page, as JSON.

    metrics of all workers ── figures ──┐
    this worker's fleets, exchanges ────┼──> shown() -> data.json
    settings, policies in force ────────┘

It has no secrets: no key, tenant, app, prompt, answer or host's error message.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gateway.compiled import BUILD
from gateway.config import Settings
from gateway.page.figures import served, totals
from gateway.policy.policies import Policies
from gateway.proxy.recent_exchanges import FinishedExchange, RecentExchanges
from gateway.route.endpoint_state import EndpointState
from gateway.route.explanation import explanation
from gateway.route.fleet import Fleet
from gateway.telemetry.samples import Samples
from gateway.types import PICO, Endpoint, Model, Price

Json = dict[str, Any]
_NOTHING = Samples({})


def shown(
    settings: Settings,
    policies: Policies,
    fleets: Mapping[str, Fleet],
    samples: Samples,
    recent: RecentExchanges,
    now: float,
    wall_time: float,
) -> Json:
    """`now` is in monotonic seconds, as for the breakers; `wall_time` is in Unix seconds."""
    by_endpoint = samples.split("endpoint")
    attempts = samples.total("gateway_attempts_total")
    return {
        "at": wall_time,
        "worker": os.getpid(),
        "build": BUILD,
        "needs_key": bool(settings.keys),
        "policies": _policies(policies, settings.default_policy),
        "totals": asdict(totals(samples)),
        "models": [_model(one, fleets[one.id], settings, by_endpoint, attempts, now) for one in settings.models],
        "exchanges": [_exchange(past) for past in recent],
    }


def _policies(policies: Policies, default: str) -> Json:
    in_force = [{"name": one.name, "about": one.about} for _, one in sorted(policies.current.items())]
    return {"default": default, "in_force": in_force, "problems": policies.problems}


def _model(
    model: Model, fleet: Fleet, settings: Settings, by_endpoint: Mapping[str, Samples], attempts: float, now: float
) -> Json:
    used = [state.endpoint for state in fleet.states.values()]
    prices = [one.price for one in used or model.endpoints if one.price and one.status != "retired"]
    return {
        "id": model.id,
        "name": model.name,
        "context": model.context,
        "input_usd": _range(price.input for price in prices),
        "output_usd": _range(price.output for price in prices),
        "endpoints": [
            _endpoint(state, by_endpoint.get(name, _NOTHING), attempts, now) for name, state in fleet.states.items()
        ],
        "unused": [
            {"id": one.id, "set": _missing_key(one, settings)}
            for one in model.endpoints
            if one.id not in fleet.states and one.status != "retired"
        ],
    }


def _range(prices: Iterable[float]) -> tuple[float, float] | None:
    found = sorted(prices)
    return (found[0], found[-1]) if found else None


def _missing_key(endpoint: Endpoint, settings: Settings) -> str | None:
    """The environment variable to set; None if the endpoint is incomplete in other ways, too."""
    variable = endpoint.api_key_env
    complete = endpoint.model and endpoint.base_url and "{" not in endpoint.base_url
    return variable if complete and variable and variable not in settings.secrets else None


def _endpoint(state: EndpointState, samples: Samples, attempts: float, now: float) -> Json:
    endpoint = state.endpoint
    breaker = state.breaker
    return {
        "id": endpoint.id,
        "name": endpoint.name or endpoint.provider,
        "quantization": endpoint.quantization,
        "context": endpoint.context,
        "state": breaker.state(now).name.lower().replace("_", "-"),
        "why": breaker.why,
        "opens_in_s": max(0.0, breaker.opens_until() - now),
        "rate_limited_s": max(0.0, state.rate_limit.until - now),
        "in_flight": state.in_flight,
        "price": _list_price(endpoint.price),
        **asdict(served(samples, endpoint.price, attempts)),
    }


def _list_price(price: Price | None) -> Json | None:
    """USD per 1M tokens. Without a published discount, cached input costs as much as input."""
    if price is None:
        return None
    cached = price.input if price.cached_input is None else price.cached_input
    return {"input": price.input, "cached_input": cached, "output": price.output, "as_of": price.as_of}


def _exchange(past: FinishedExchange) -> Json:
    row = past.closing
    return {
        "id": row.exchange,
        "ended": row.at + row.duration,
        "model": row.model,
        "policy": row.policy,
        "endpoint": row.endpoint,
        "attempts": row.attempt,
        "ttft": row.client_ttft,
        "seconds": row.client_duration,
        "prompt_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "completion_tokens": row.completion_tokens,
        "cost_usd": sum(one.cost for one in past.rows) / PICO,
        "outcome": row.outcome,
        "status": row.client_status,
        "plan": explanation(past.plan, row.model) if past.plan else None,
    }
