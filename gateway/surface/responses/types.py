"""OpenAI's Responses API, as types. `decode` and `earlier` read the request; `encode` builds the response as a dict,
because its parts are sent as events, too."""

from typing import Annotated, Literal, Required, TypedDict

from msgspec import Meta

from gateway.intake.field_types import Count, Json, ModelName, Positive
from gateway.intake.options_types import RoutingFields


class ResponsesTool(TypedDict):
    type: str


class ResponsesRequest(RoutingFields, total=False):
    model: ModelName
    input: Required[str | Annotated[list[Json], Meta(min_length=1)]]
    stream: bool | None
    temperature: float | None
    top_p: float | None
    instructions: str | None
    max_output_tokens: Positive | None
    tools: list[ResponsesTool] | None
    tool_choice: str | Json | None
    parallel_tool_calls: bool | None
    previous_response_id: Annotated[
        str | None, Meta(description="id of a stored response whose conversation to continue")
    ]
    store: Annotated[bool | None, Meta(description="whether to store the response; true by default")]
    reasoning: Json | None
    text: Json | None
    user: str | None


class OutputItem(TypedDict):
    type: Literal["reasoning", "message", "function_call", "custom_tool_call"]
    id: str


class ResponseUsage(TypedDict):
    input_tokens: Count
    output_tokens: Count
    total_tokens: Count


class OpenAIResponse(TypedDict):
    id: str
    object: Literal["response"]
    created_at: Count
    status: Literal["completed", "incomplete"]
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None
    store: Annotated[bool, Meta(description="whether the response is stored")]
