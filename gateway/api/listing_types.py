"""Types of OpenRouter's listings: models, endpoints, providers. `openrouter_models` builds them, `listing` serves
them."""

from typing import Annotated, Literal, TypedDict

from msgspec import UNSET, Meta, UnsetType

from gateway.intake.field_types import ApiObject, Count, Moment, No, Percent, Percentiles, UsdPerToken

MOST_ROWS = 1_000
NoFields = Annotated[dict[str, bool], Meta(max_length=0)]


class ModelQuery(TypedDict, total=False):
    offset: Annotated[int, Meta(ge=0, le=MOST_ROWS)]
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)]
    q: str
    supported_parameters: str


class TokenRates(ApiObject):
    prompt: UsdPerToken
    completion: UsdPerToken
    input_cache_read: UsdPerToken | UnsetType = UNSET


class RateOverride(TokenRates):
    min_prompt_tokens: Count | UnsetType = UNSET
    utc_start: Count | UnsetType = UNSET
    utc_end: Count | UnsetType = UNSET


class Pricing(TokenRates):
    discount: float | UnsetType = UNSET
    input_cache_write: UsdPerToken | UnsetType = UNSET
    overrides: list[RateOverride] | UnsetType = UNSET


class Architecture(ApiObject):
    modality: str
    input_modalities: list[str]
    output_modalities: list[str]
    tokenizer: str
    instruct_type: None = None


class TopProvider(ApiObject):
    context_length: Count | None
    max_completion_tokens: Count | None
    is_moderated: No = False


class ModelLinks(ApiObject):
    details: str


class ModelReasoning(ApiObject):
    mandatory: bool
    default_enabled: bool


class ListedModel(ApiObject):
    id: str
    canonical_slug: str
    name: str
    created: Count
    context_length: Count
    architecture: Architecture
    pricing: Pricing
    top_provider: TopProvider
    supported_parameters: list[str]
    links: ModelLinks
    reasoning: ModelReasoning | UnsetType = UNSET
    per_request_limits: None = None
    default_parameters: None = None
    supported_voices: None = None


class ToolChoices(ApiObject):
    auto: bool
    none: bool
    required: bool
    function: bool


class CapabilitySource(ApiObject):
    """One source of a capability. `right`, `of` and `last` are those of the last answers to probes that need it."""

    source: Annotated[str, Meta(description="`configuration`, which decides; `litellm` with its version; or `probes`")]
    supported: Annotated[bool, Meta(description="of probes: whether any answer was right")]
    right: Count | UnsetType = UNSET
    of: Count | UnsetType = UNSET
    last: Moment | UnsetType | None = UNSET


class ListedCapability(ApiObject):
    name: str
    sources: list[CapabilitySource]


class ListedEndpoint(ApiObject):
    name: str
    model_id: str
    model_name: str
    provider_name: str
    tag: str
    quantization: str
    context_length: Count
    max_prompt_tokens: Count | None
    max_completion_tokens: Count | None
    pricing: Pricing
    supported_parameters: list[str]
    supports_implicit_caching: bool
    supports_tool_choice: ToolChoices
    status: Annotated[Literal[0, -5], Meta(description="0, or -5 while its breaker is open or it is rate limited")]
    latency_last_30m: Annotated[Percentiles | None, Meta(description="time to first token in milliseconds")]
    throughput_last_30m: Annotated[Percentiles | None, Meta(description="output tokens per second")]
    uptime_last_5m: Percent | None
    uptime_last_30m: Percent | None
    uptime_last_1d: Percent | None
    capabilities: Annotated[list[ListedCapability], Meta(description="the gateway's own field")]
    supports_diarization: bool = False
    native_tools: NoFields = {}
    service_tier: None = None


class ListedProvider(ApiObject):
    name: str
    slug: str
    privacy_policy_url: None = None
    terms_of_service_url: None = None
    status_page_url: None = None
    headquarters: None = None
    datacenters: None = None


class PageLinks(ApiObject):
    next: str | None


class ModelPage(ApiObject):
    data: list[ListedModel]
    total_count: Count
    links: PageLinks


class ModelEndpoints(ApiObject):
    id: str
    name: str
    created: Count
    architecture: Architecture
    endpoints: list[ListedEndpoint]
    description: str = ""


class ModelCount(ApiObject):
    count: Count
