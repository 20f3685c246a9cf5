"""The figures of the model page, computed from the metrics of all workers. `docs/page.md` defines each one.

A share, quantile or price is None while there is no data. Units are seconds, tokens and USD.
"""

from dataclasses import dataclass

from gateway.telemetry.definitions import JUDGED, SUCCESS, share
from gateway.telemetry.samples import Samples
from gateway.types import Price


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals over all models, as seen by clients."""

    requests: int
    in_flight: int
    success: float | None
    ttft_p50: float | None
    ttft_p95: float | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float
    usd_per_million: float | None
    cache_hits: int
    cache_asked: int


@dataclass(frozen=True, slots=True)
class Served:
    """Figures of one endpoint. `effective_input` is in USD per 1M prompt tokens."""

    attempts: int
    share: float | None
    success: float | None
    ttft_p50: float | None
    ttft_p95: float | None
    throughput_p50: float | None
    cache_hit: float | None
    effective_input: float | None
    cost_usd: float


def totals(samples: Samples) -> Totals:
    tokens = samples.by("gateway_tokens_total", "kind")
    prompt, completion = tokens.get("prompt", 0.0), tokens.get("completion", 0.0)
    cost = samples.total("gateway_cost_usd_total")
    per_token = share(cost, prompt + completion)
    cache_results = samples.by("gateway_cache_requests_total", "result")
    ttft = "gen_ai_server_time_to_first_token_seconds"
    return Totals(
        requests=int(samples.total("gateway_requests_total")),
        in_flight=int(samples.total("gateway_in_flight")),
        success=_success(samples.by("gateway_requests_total", "outcome")),
        ttft_p50=samples.quantile(0.5, ttft),
        ttft_p95=samples.quantile(0.95, ttft),
        prompt_tokens=int(prompt),
        cached_tokens=int(tokens.get("cached", 0.0)),
        completion_tokens=int(completion),
        cost_usd=cost,
        usd_per_million=None if per_token is None else 1e6 * per_token,
        cache_hits=int(cache_results.get("hit", 0.0)),
        cache_asked=int(sum(cache_results.values())),
    )


def served(samples: Samples, price: Price | None, all_attempts: float) -> Served:
    """`samples` are this endpoint's only; `all_attempts` counts the attempts of all endpoints."""
    outcomes = samples.by("gateway_attempts_total", "outcome")
    attempts = sum(outcomes.values())
    tokens = samples.by("gateway_tokens_total", "kind")
    hit = share(tokens.get("cached", 0.0), tokens.get("prompt", 0.0))
    ttft = "gateway_attempt_ttft_seconds"
    return Served(
        attempts=int(attempts),
        share=share(attempts, all_attempts),
        success=_success(outcomes),
        ttft_p50=samples.quantile(0.5, ttft),
        ttft_p95=samples.quantile(0.95, ttft),
        throughput_p50=samples.quantile(0.5, "gateway_attempt_throughput_tokens_per_second"),
        cache_hit=hit,
        effective_input=_effective(price, hit),
        cost_usd=samples.total("gateway_cost_usd_total"),
    )


def _success(outcomes: dict[str, float]) -> float | None:
    judged = sum(outcomes.get(outcome, 0.0) for outcome in JUDGED)
    return share(sum(outcomes.get(outcome, 0.0) for outcome in SUCCESS), judged)


def _effective(price: Price | None, hit: float | None) -> float | None:
    if price is None or hit is None:
        return None
    cached = price.input if price.cached_input is None else price.cached_input
    return price.input * (1 - hit) + cached * hit
