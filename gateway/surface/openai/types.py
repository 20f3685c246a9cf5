"""Chat and text completions as OpenAI and OpenRouter define them. `intake` and `completions` decode the requests. A
response is the host's; `surface.openrouter` adds the fields that OpenRouter's clients expect."""

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

from msgspec import UNSET, Meta, UnsetType

from gateway.intake.body import MOST_CHOICES
from gateway.intake.field_types import ApiObject, Count, Json, ModelName, Positive, Usd
from gateway.intake.options_types import ReasoningFields, RoutingFields
from gateway.intake.prompt import LONGEST_ROLE


class StreamOptions(TypedDict, total=False):
    include_usage: bool


class CompletionFields(RoutingFields, total=False):
    """`model` is optional for OpenRouter's clients: the default is the gateway's first model."""

    model: ModelName
    stream: bool | None
    stream_options: StreamOptions | None
    max_tokens: Positive | None
    max_completion_tokens: Positive | None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Json | None
    seed: int | None
    stop: str | list[str] | None


class ChatMessage(TypedDict, total=False):
    role: Required[Annotated[str, Meta(max_length=LONGEST_ROLE)]]
    content: str | list[Json] | None
    prefix: Annotated[Any, Meta(description="true on a final assistant message that the answer continues")]


class ResponseFormat(TypedDict):
    type: Literal["text", "json_object", "json_schema"]


class ChatRequest(CompletionFields, ReasoningFields, total=False):
    messages: Required[Annotated[list[ChatMessage], Meta(min_length=1)]]
    tools: list[Json] | None
    tool_choice: str | Json | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | None
    logprobs: bool | None
    top_logprobs: Count | None


class TextRequest(CompletionFields, total=False):
    prompt: Required[str | Annotated[list[str], Meta(min_length=1, max_length=1)]]


class CachedTokens(TypedDict):
    cached_tokens: Count


class ReasoningTokens(TypedDict):
    reasoning_tokens: Count


class TokenUsage(TypedDict):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: NotRequired[CachedTokens]
    completion_tokens_details: NotRequired[ReasoningTokens]


class PricedUsage(TokenUsage):
    cost: NotRequired[Usd]


class OpenRouterUsage(TokenUsage):
    cost: Usd
    is_byok: bool
    cost_details: Json


class AssistantMessage(TypedDict):
    role: Literal["assistant"]
    content: NotRequired[str | None]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[Json]]


class OpenRouterMessage(AssistantMessage):
    refusal: Any


class ChoiceFields(TypedDict):
    index: Count
    finish_reason: str | None


class ChatChoice(ChoiceFields):
    message: AssistantMessage


class OpenRouterChoice(ChoiceFields):
    native_finish_reason: str | None
    message: OpenRouterMessage


class TextChoice(ChoiceFields):
    text: str


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: Count
    model: str
    choices: list[ChatChoice]
    usage: PricedUsage


class OpenRouterCompletion(ApiObject):
    id: str
    object: Literal["chat.completion"]
    created: Count
    model: str
    provider: Annotated[str, Meta(description="display name of the provider")]
    system_fingerprint: str | None
    choices: list[OpenRouterChoice]
    usage: OpenRouterUsage
    openrouter_metadata: Json | UnsetType = UNSET


class TextCompletion(TypedDict):
    id: str
    object: Literal["text_completion"]
    created: Count
    model: str
    choices: list[TextChoice]
    usage: PricedUsage


class StreamEvent(ApiObject):
    """One server-sent event. Comments are not events."""

    data: str
    event: str | UnsetType = UNSET
