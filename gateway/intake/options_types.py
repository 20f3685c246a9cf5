"""Types of the gateway's own fields and headers, on every surface. `options` and `provider` read them."""

from typing import Annotated, Literal, Required, TypedDict

from msgspec import Meta

from gateway.intake.field_types import Json, Percentiles, Positive
from gateway.intake.options import LONGEST_SESSION, LONGEST_TTL, MOST_MODELS, ServiceTier
from gateway.types.endpoint import Effort

Sort = Literal["price", "throughput", "latency", "exacto"]
Session = Annotated[str, Meta(max_length=LONGEST_SESSION)]
WithoutEffect = Annotated[Json | None, Meta(description="without effect")]


class ProviderOptions(TypedDict, total=False):
    """Narrows the policy for this request."""

    order: list[str] | None
    only: list[str] | None
    ignore: list[str] | None
    allow_fallbacks: bool | None
    require_parameters: bool | None
    quantizations: list[str] | None
    sort: Sort | Json | None
    max_price: Json | None
    preferred_min_throughput: float | Percentiles | None
    preferred_max_latency: float | Percentiles | None
    data_collection: Literal["allow", "deny"] | None
    zdr: bool | None
    enforce_distillable_text: bool | None
    options: Json | None


class PluginOptions(TypedDict, total=False):
    id: Required[Literal["context-compression", "response-healing"]]
    enabled: bool


class RoutingFields(TypedDict, total=False):
    """The routing fields of a request on any surface."""

    provider: ProviderOptions | None
    models: Annotated[
        Annotated[list[str], Meta(max_length=MOST_MODELS)] | None,
        Meta(description="tried after `model`, in this order, until one answers"),
    ]
    route: Annotated[Literal["fallback", "sort"] | None, Meta(description="without effect")]
    plugins: list[PluginOptions] | None
    transforms: list[Literal["middle-out"]] | None
    session_id: Session | None
    prompt_cache_key: Annotated[str | None, Meta(description="id of the session if `session_id` is absent")]
    preset: Annotated[str | None, Meta(description="the name of a policy")]
    service_tier: Annotated[ServiceTier | None, Meta(description="without effect")]
    metadata: Annotated[
        Json | None, Meta(description="of Anthropic's `metadata`, a hash of `user_id` is sent to the host")
    ]
    trace: WithoutEffect
    usage: WithoutEffect
    debug: WithoutEffect


class ReasoningOptions(TypedDict, total=False):
    enabled: bool
    exclude: bool
    effort: Literal[Effort, "none"]
    max_tokens: Positive


class ReasoningFields(TypedDict, total=False):
    reasoning: Annotated[
        ReasoningOptions | None, Meta(description="switches reasoning; `effort` or `max_tokens`, not both")
    ]
    include_reasoning: bool | None
    reasoning_effort: str | None
    thinking: Annotated[Json | None, Meta(description="DeepSeek's switch, by its `type`")]
    enable_thinking: bool | None
    chat_template_kwargs: Annotated[
        Json | None, Meta(description="the switch of vLLM and SGLang: `thinking`, `enable_thinking`")
    ]


RequestHeaders = TypedDict(
    "RequestHeaders",
    {
        "x-gateway-policy": str,
        "x-gateway-cache": Literal["on", "no-store", "refresh"],
        "x-gateway-explain": Literal["on"],
        "x-openrouter-cache": Literal["true", "false"],
        "x-openrouter-cache-ttl": Annotated[int, Meta(ge=1, le=LONGEST_TTL)],
        "x-openrouter-cache-clear": Literal["true", "false"],
        "x-openrouter-metadata": Literal["enabled", "disabled"],
        "x-openrouter-title": Annotated[
            str, Meta(description="name of the app; also read from X-Title and HTTP-Referer")
        ],
        "x-session-id": Session,
    },
    total=False,
)
