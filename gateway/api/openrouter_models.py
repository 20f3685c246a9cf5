"""Models and endpoints in the format of OpenRouter's listings.

Prices are strings in USD per token, times are in milliseconds, uptimes in percent. An unknown value is null.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, cast

from msgspec import UNSET, UnsetType

from gateway.api.listing_types import (
    Architecture,
    ListedCapability,
    ListedEndpoint,
    ListedModel,
    ListedProvider,
    ModelLinks,
    ModelReasoning,
    Pricing,
    RateOverride,
    ToolChoices,
    TopProvider,
)
from gateway.intake.field_types import Percentiles
from gateway.route.endpoint_state import EndpointState
from gateway.surface.openrouter.shape import provider_name
from gateway.telemetry.archive import Uptime
from gateway.types import Endpoint, Measure, Model, Price
from gateway.types.price import PriceTier, Window

OK: Literal[0] = 0  # values of an endpoint's `status`
DEGRADED: Literal[-5] = -5
UNPRICED = "-1"
_EVERY_HOST = frozenset(
    {"frequency_penalty", "max_completion_tokens", "max_tokens", "presence_penalty", "stop", "temperature", "top_p"}
)
_BY_SUPPORT = {
    "tools": ("tools",),
    "tool_choice": ("tool_choice",),
    "parallel_tools": ("parallel_tool_calls",),
    "json_object": ("response_format",),
    "json_schema": ("response_format", "structured_outputs"),
    "logprobs": ("logprobs", "top_logprobs"),
    "logit_bias": ("logit_bias",),
    "seed": ("seed",),
}
_REASONING = ("include_reasoning", "reasoning", "reasoning_effort")
_LATENCY: dict[str, Measure] = {"p50": "ttft_p50", "p75": "ttft_p75", "p90": "ttft_p90", "p99": "ttft_p99"}
_THROUGHPUT: dict[str, Measure] = {
    "p50": "throughput_p50",
    "p75": "throughput_p75",
    "p90": "throughput_p90",
    "p99": "throughput_p99",
}


def described_model(model: Model, used: Sequence[Endpoint]) -> ListedModel:
    """One model of the list; `used` are its endpoints in use."""
    served_by = used or [one for one in model.endpoints if one.status != "retired"]
    priced = [one for one in served_by if one.price is not None]
    cheapest = min(priced, key=_list_price, default=None)
    return ListedModel(
        id=model.id,
        canonical_slug=canonical_slug(model),
        name=model.name,
        created=model.created,
        context_length=model.context,
        architecture=architecture(model),
        pricing=_pricing(cheapest.price if cheapest else None),
        top_provider=TopProvider(
            context_length=cheapest.context if cheapest else None,
            max_completion_tokens=cheapest.max_output if cheapest else None,
        ),
        supported_parameters=model_parameters(served_by),
        reasoning=_reasoning(model, served_by),
        links=ModelLinks(details=f"/api/v1/models/{model.id}/endpoints"),
    )


def _reasoning(model: Model, served_by: Sequence[Endpoint]) -> ModelReasoning | UnsetType:
    """Unset for a model without reasoning at any of its endpoints."""
    thinking = any(endpoint.dialect.thinking != "unknown" for endpoint in served_by)
    if not (thinking or model.reasoning.default_enabled):
        return UNSET
    return ModelReasoning(mandatory=False, default_enabled=model.reasoning.default_enabled)


def described_endpoint(
    model: Model, state: EndpointState, uptime: Uptime, capabilities: list[ListedCapability], now: float
) -> ListedEndpoint:
    """One endpoint with its measurements. `now` is in monotonic seconds, as for its breaker."""
    endpoint, supports = state.endpoint, state.endpoint.supports
    healthy = state.breaker.state(now).value == 0 and state.held_until <= now
    tools, choice = "tools" in supports, "tool_choice" in supports
    return ListedEndpoint(
        name=f"{provider_name(endpoint)} | {canonical_slug(model)}",
        model_id=model.id,
        model_name=model.name,
        provider_name=provider_name(endpoint),
        tag=endpoint.id,
        quantization=endpoint.quantization,
        context_length=endpoint.context,
        max_prompt_tokens=endpoint.max_input,
        max_completion_tokens=endpoint.max_output,
        pricing=_pricing(endpoint.price),
        supported_parameters=parameters(endpoint),
        supports_implicit_caching=endpoint.cache.automatic is True,
        supports_tool_choice=ToolChoices(auto=tools, none=tools, required=choice, function=choice),
        status=OK if healthy else DEGRADED,
        latency_last_30m=_percentiles(state, _LATENCY, 1_000),
        throughput_last_30m=_percentiles(state, _THROUGHPUT, 1),
        uptime_last_5m=uptime.last_5m,
        uptime_last_30m=uptime.last_30m,
        uptime_last_1d=uptime.last_1d,
        capabilities=capabilities,
    )


def described_provider(endpoint: Endpoint) -> ListedProvider:
    return ListedProvider(provider_name(endpoint), endpoint.provider)


def architecture(model: Model) -> Architecture:
    inputs = model.inputs
    return Architecture(
        modality=f"{'+'.join(inputs)}->text",
        input_modalities=inputs,
        output_modalities=["text"],
        tokenizer="DeepSeek" if model.id.startswith("deepseek/") else "Other",
    )


def canonical_slug(model: Model) -> str:
    """The model's dated alias if it has one, else its id."""
    return next((alias for alias in model.aliases if alias.startswith(f"{model.id}-")), model.id)


def provider_names(models: Iterable[Model]) -> dict[str, str]:
    """Display names by endpoint id."""
    return {one.id: provider_name(one) for model in models for one in model.endpoints}


def parameters(endpoint: Endpoint) -> list[str]:
    """The request parameters that this endpoint supports."""
    found = {name for support in endpoint.supports for name in _BY_SUPPORT.get(support, ())}
    found.update(_EVERY_HOST)
    if endpoint.dialect.thinking != "unknown":
        found.update(_REASONING)
    return sorted(found - set(endpoint.dialect.drop))


def model_parameters(endpoints: Iterable[Endpoint]) -> list[str]:
    """The request parameters that at least one of these endpoints supports."""
    return sorted({name for endpoint in endpoints for name in parameters(endpoint)})


def _list_price(endpoint: Endpoint) -> float:
    assert endpoint.price is not None
    return endpoint.price.input + endpoint.price.output


def _pricing(price: Price | None) -> Pricing:
    if price is None:
        return Pricing(UNPRICED, UNPRICED)
    by_hour = [
        RateOverride(*_rates(one), utc_start=100 * one.from_hour, utc_end=100 * one.to_hour) for one in price.hours
    ]
    by_length = [RateOverride(*_rates(one), min_prompt_tokens=one.over_prompt_tokens) for one in price.tiers]
    return Pricing(
        *_rates(price),
        discount=0,
        input_cache_write=_if_known(price.cache_write),
        overrides=by_hour + by_length or UNSET,  # the last override that applies wins
    )


def _rates(price: Price | PriceTier | Window) -> tuple[str, str, str | UnsetType]:
    """Prices of input, output and cached input."""
    return _per_token(price.input), _per_token(price.output), _if_known(price.cached_input)


def _per_token(per_million: float) -> str:
    return f"{(Decimal(str(per_million)) / 1_000_000).normalize():f}"


def _if_known(per_million: float | None) -> str | UnsetType:
    return UNSET if per_million is None else _per_token(per_million)


def _percentiles(state: EndpointState, measures: dict[str, Measure], unit: float) -> Percentiles | None:
    found = {name: state.figures.get(measure) for name, measure in measures.items()}
    known = {name: value * unit for name, value in found.items() if value is not None}
    return cast(Percentiles, known) if known else None
