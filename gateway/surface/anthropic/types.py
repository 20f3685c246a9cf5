"""Anthropic's Messages API, as types. `decode` reads the request; `encode` builds the response as a dict, because its
parts are sent as events, too."""

from typing import Annotated, Literal, Required, TypedDict

from msgspec import Meta

from gateway.intake.field_types import ApiObject, Count, Json, ModelName, Positive
from gateway.intake.options_types import RoutingFields


class AnthropicInput(TypedDict):
    role: Literal["user", "assistant"]
    content: str | list[Json]


class AnthropicTool(TypedDict, total=False):
    name: Required[str]
    type: str
    input_schema: Json


class AnthropicThinking(TypedDict):
    type: Literal["enabled", "adaptive", "between_tools", "disabled"]


class MessagesRequest(RoutingFields, total=False):
    model: Required[ModelName]
    messages: Required[Annotated[list[AnthropicInput], Meta(min_length=1)]]
    max_tokens: Positive | None
    system: str | list[Json]
    stream: bool
    temperature: float
    top_p: float
    top_k: int
    stop_sequences: list[str]
    tools: list[AnthropicTool]
    tool_choice: Json
    thinking: AnthropicThinking
    output_config: Json


class AnthropicBlock(TypedDict):
    type: Literal["thinking", "text", "tool_use"]


class AnthropicUsage(TypedDict):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count


class AnthropicMessage(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnthropicBlock]
    stop_reason: str | None
    stop_sequence: str | None
    usage: AnthropicUsage


class TokenCount(ApiObject):
    input_tokens: Count
