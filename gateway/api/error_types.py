"""Types of the error bodies of each surface. `gateway/errors.py` writes the format of OpenAI, each
`surface/*/errors.py` that of its dialect."""

from typing import Annotated, TypedDict

from msgspec import UNSET, Meta, UnsetType

from gateway.intake.field_types import ApiObject, Json


class ErrorFields(ApiObject):
    message: str
    type: str
    param: str | None
    code: str | None
    metadata: Annotated[
        Json | UnsetType, Meta(description="the error of each attempt, or the constraint that excluded each endpoint")
    ] = UNSET


class ErrorBody(ApiObject):
    error: ErrorFields


class OpenRouterErrorMetadata(TypedDict):
    error_type: str


class Availability(TypedDict):
    code: str
    retryable: bool


class OpenRouterErrorFields(ApiObject):
    code: Annotated[int, Meta(description="the HTTP status")]
    message: str
    metadata: OpenRouterErrorMetadata
    availability: Annotated[Availability | UnsetType, Meta(description="why no endpoint could serve")] = UNSET


class OpenRouterErrorBody(ApiObject):
    error: OpenRouterErrorFields
    openrouter_metadata: Json | UnsetType = UNSET


class AnthropicErrorFields(ApiObject):
    type: str
    message: str
    metadata: Json | UnsetType = UNSET


class AnthropicErrorBody(ApiObject, tag_field="type", tag="error"):
    error: AnthropicErrorFields
    request_id: str
