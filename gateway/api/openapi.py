"""`GET /openapi.json`: requests and responses of every route, in OpenAPI 3.1, generated from the types.

    operations, each with its types (this file) ──> schemas of the types, by msgspec ──> bytes, cached

Tests check that the document has every route and that responses match it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.api import key_admin_types as keys
from gateway.api import listing_types
from gateway.api.account import ActivityLine, ActivityQuery, CreditSums, KeyUsage
from gateway.api.chat import DEEPSEEK_CHAT
from gateway.api.error_types import AnthropicErrorBody, ErrorBody, OpenRouterErrorBody
from gateway.api.explain import ExplainedPlan
from gateway.api.generation import Generation, GenerationQuery
from gateway.api.health_routes import Live, Readiness
from gateway.api.messages import DEEPSEEK_MESSAGES
from gateway.api.models import AnthropicModel, AnthropicModels, ModelHeaders, OpenAIModel, OpenAIModels
from gateway.intake.field_types import COMPONENT, WITH_MODEL, Data, DataList, Json
from gateway.intake.options_types import RequestHeaders
from gateway.surface.anthropic.types import AnthropicMessage, MessagesRequest, TokenCount
from gateway.surface.openai.types import (
    ChatCompletion,
    ChatRequest,
    OpenRouterCompletion,
    StreamEvent,
    TextCompletion,
    TextRequest,
)
from gateway.surface.responses.earlier import DeletedResponse, ItemQuery, ResponseItems
from gateway.surface.responses.types import OpenAIResponse, ResponsesRequest
from gateway.types import Model

_JSON, _EVENTS = "application/json", "text/event-stream"
_STATUSES = {
    400: "the request is invalid, or a host rejected it",
    401: "the key is missing, unknown or expired",
    402: "the budget of the key, its group or its app is used up",
    403: "a host rejected the request, or the key may not use this model or policy",
    404: "there is no such model, policy or file, or no endpoint matches",
    409: "the key was changed at the same time",
    413: "the body is too large",
    415: "the content-encoding is not supported",
    422: "a host rejected the request",
    429: "every endpoint that was tried is rate limited, or a limit of the key, its group or its app is reached",
    500: "an internal error of the gateway",
    502: "every attempt failed",
    503: "no endpoint is in use, all are overloaded, or the gateway is shutting down",
    504: "every attempt timed out",
    524: "every attempt timed out",
}
_GATEWAY_HEADERS = (
    "x-generation-id",
    "x-gateway-endpoint",
    "x-gateway-policy",
    "x-gateway-attempts",
    "x-gateway-cache",
)


class Operation(NamedTuple):
    """One method of one route: the types of its request and response, its error statuses and the error type."""

    method: str
    path: str
    summary: str
    answer: Any
    statuses: Iterable[int] = ()
    error: Any = None
    request: Any = None
    headers: Any = None
    query: Any = None
    media: tuple[str, ...] = (_JSON,)
    success: int = 200

    def types(self) -> Iterator[Any]:
        """The types of its bodies."""
        for one in (self.answer, self.error, self.request):
            yield from one if isinstance(one, tuple) else () if one is None else (one,)


class OpenAPIDocument(TypedDict):
    openapi: str
    paths: Json


class Document:
    """Builds the document at the first request for it."""

    def __init__(self, served: tuple[Model, ...]) -> None:
        self._served = served

    def routes(self) -> list[Route]:
        return [Route("/openapi.json", self._answer, methods=["GET"])]

    async def _answer(self, _: Request) -> Response:
        return Response(self._bytes, media_type="application/json")

    @cached_property
    def _bytes(self) -> bytes:
        return orjson.dumps(document(self._served))


def document(served: Iterable[Model]) -> Json:
    operations = (*_posts(), *_openai_gets(), *_openrouter_gets(), *_kept_responses(), *_key_management(), *_own_gets())
    kinds = dict.fromkeys([StreamEvent, *(one for operation in operations for one in operation.types())])
    found, components = msgspec.json.schema_components(kinds, ref_template=COMPONENT)
    schemas = dict(zip(kinds, found, strict=True))
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LLM gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {
                "ModelName": _model_names(served),
                **{name: _answered(one) for name, one in components.items()},
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _model_names(served: Iterable[Model]) -> Json:
    names = [name for model in served for name in (model.id, *model.aliases)]
    pattern = "^[^:@]*(@preset/[a-z0-9-]+)?(:[a-z0-9-]+)*$"
    by_policy = {"type": "string", "pattern": pattern, "description": "a model name, optionally with a policy"}
    return {"anyOf": [{"enum": names}, by_policy]}


def _posts() -> Iterator[Operation]:
    chat = Annotated[ChatRequest, WITH_MODEL]
    for path in ("/v1/chat/completions", *DEEPSEEK_CHAT):
        yield _post(path, "Chat completion", chat, ChatCompletion, _EVENTS)
    yield _post("/v1/completions", "Text completion", Annotated[TextRequest, WITH_MODEL], TextCompletion, _EVENTS)
    yield _post("/v1/responses", "OpenAI's Responses", Annotated[ResponsesRequest, WITH_MODEL], OpenAIResponse, _EVENTS)
    yield _post("/v1/explain", "The routing plan for a chat completion, which is not sent", chat, ExplainedPlan)
    yield _post("/api/v1/chat/completions", "Chat completion", ChatRequest, OpenRouterCompletion, _EVENTS)
    yield _post("/api/v1/completions", "Text completion", TextRequest, TextCompletion, _EVENTS)
    yield _post("/api/v1/responses", "OpenAI's Responses", ResponsesRequest, OpenAIResponse, _EVENTS)
    for path in ("/v1/messages", DEEPSEEK_MESSAGES, "/api/v1/messages"):
        yield _post(path, "Anthropic's Messages", MessagesRequest, AnthropicMessage, _EVENTS)
        yield _post(f"{path}/count_tokens", "Estimated length of a prompt in tokens", MessagesRequest, TokenCount)


def _post(path: str, summary: str, request: Any, answer: Any, *streamed: str) -> Operation:
    error, media = _error_type(path), (_JSON, *streamed)
    statuses = sorted(_STATUSES.keys() - {409, 504 if error is OpenRouterErrorBody else 524})
    return Operation("post", path, summary, answer, statuses, error, request, RequestHeaders, media=media)


def _openai_gets() -> Iterator[Operation]:
    """Clients that send the header `anthropic-version` get Anthropic's format."""
    every, one = (OpenAIModels, AnthropicModels), (OpenAIModel, AnthropicModel)
    error = (ErrorBody, AnthropicErrorBody)
    for path in ("/v1/models", "/models"):
        yield Operation("get", path, "The models", every, (401,), error, headers=ModelHeaders)
    yield Operation("get", "/v1/models/{name}", "One model", one, (401, 404), error, headers=ModelHeaders)


def _kept_responses() -> Iterator[Operation]:
    for start in ("/v1", "/api/v1"):
        path, errors = f"{start}/responses/{{name}}", ((400, 401, 404, 503), _error_type(start))
        yield Operation("get", path, "A stored response", OpenAIResponse, *errors)
        yield Operation("delete", path, "Delete a stored response", DeletedResponse, *errors)
        yield Operation("get", f"{path}/input_items", "Its input items", ResponseItems, *errors, query=ItemQuery)


def _openrouter_gets() -> Iterator[Operation]:
    endpoints = "/models/{author}/{slug}/endpoints"
    yield _openrouter("/models", "The models", listing_types.ModelPage, 400, query=listing_types.ModelQuery)
    yield _openrouter("/models/count", "The number of models", Data[listing_types.ModelCount])
    yield _openrouter("/model/{author}/{slug}", "One model", Data[listing_types.ListedModel], 404)
    yield _openrouter(endpoints, "A model's endpoints with their measurements", Data[listing_types.ModelEndpoints], 404)
    yield _openrouter("/providers", "Providers of the endpoints in use", DataList[listing_types.ListedProvider])
    yield _openrouter("/endpoints/zdr", "Endpoints with zero data retention", DataList[listing_types.ListedEndpoint])
    outcome = "The outcome of a request"
    yield _openrouter("/generation", outcome, Data[Generation], 400, 404, 503, query=GenerationQuery)
    for path in ("/key", "/auth/key"):
        yield _openrouter(path, "What this key has spent", Data[KeyUsage], 503)
    yield _openrouter("/credits", "What this key has spent, in total", Data[CreditSums], 503)
    by_day = "Usage by day, model and endpoint over the last 30 days"
    yield _openrouter("/activity", by_day, DataList[ActivityLine], 400, 503, query=ActivityQuery)


def _key_management() -> Iterator[Operation]:
    every, one, errors = "/api/v1/keys", "/api/v1/keys/{name}", OpenRouterErrorBody
    found, body, own = (401, 403, 404, 503), (400, 401, 403, 404, 409, 413, 503), Data[keys.KeyInfo]
    page = keys.KeyQuery
    yield Operation("get", every, "The virtual keys", DataList[keys.KeyInfo], (400, *found), errors, query=page)
    yield Operation("post", every, "Create a key", keys.NewKey, body, errors, keys.KeyFields, success=201)
    yield Operation("get", one, "One key", own, found, errors)
    yield Operation("patch", one, "Change a key", own, body, errors, keys.KeyFields)
    yield Operation("delete", one, "Revoke a key", keys.DeletedKey, (*found, 409), errors)
    yield Operation("post", f"{one}/rotate", "A new secret for a key", keys.NewKey, body, errors, keys.RotateFields)


def _openrouter(path: str, summary: str, answer: Any, *statuses: int, query: Any = None) -> Operation:
    return Operation("get", f"/api/v1{path}", summary, answer, (401, *statuses), OpenRouterErrorBody, query=query)


def _own_gets() -> Iterator[Operation]:
    for path in ("/health", "/health/live"):
        yield Operation("get", path, "Whether the process responds", Live)
    yield Operation("get", "/health/ready", "Whether an endpoint is in use", Readiness, (503,), Readiness)
    yield Operation("get", "/metrics", "Prometheus metrics of all workers", str, media=("text/plain",))
    yield Operation("get", "/openapi.json", "This document", OpenAPIDocument)
    yield Operation("get", "/", "The model page", str, media=("text/html",))
    page = "The page of one model"
    yield Operation("get", "/models/{author}/{slug}", page, str, (404,), ErrorBody, media=("text/html",))


def _error_type(path: str) -> Any:
    if "/messages" in path:
        return AnthropicErrorBody
    return OpenRouterErrorBody if path.startswith("/api/") else ErrorBody


def _described(operation: Operation, schemas: Mapping[Any, Json]) -> Json:
    """The operation in OpenAPI; `schemas` has the schema of each type."""

    def content(kind: Any, *media: str) -> Json:
        return {one: {"schema": schema(StreamEvent if one == _EVENTS else kind)} for one in media}

    def schema(kind: Any) -> Json:
        return {"anyOf": [schemas[one] for one in kind]} if isinstance(kind, tuple) else schemas[kind]

    answer: Json = {"description": "success", "content": content(operation.answer, *operation.media)}
    if _EVENTS in operation.media:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in _GATEWAY_HEADERS}
    errors = {
        str(status): {"description": _STATUSES[status], "content": content(operation.error, _JSON)}
        for status in operation.statuses
    }
    described: Json = {"summary": operation.summary, "responses": {str(operation.success): answer, **errors}}
    if "401" in errors:
        described["security"] = [{"bearer": []}, {"x-api-key": []}, {}]
    if parameters := list(_parameters(operation)):
        described["parameters"] = parameters
    if operation.request is not None:
        described["requestBody"] = {"required": True, "content": content(operation.request, _JSON)}
    return described


def _parameters(operation: Operation) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "schema": {"type": "string"}, "required": True}
    for place, fields in (("header", operation.headers), ("query", operation.query)):
        if fields is not None:
            described = msgspec.json.schema(fields)["$defs"][fields.__name__]
            needed = described.get("required", ())
            for name, schema in described["properties"].items():
                yield {"name": name, "in": place, "schema": schema, "required": name in needed}


def _answered(schema: Json) -> Json:
    """Makes fields with a default required: a response has all of them except those that are UNSET."""
    fields = schema.get("properties", {})
    constant = [name for name, field in fields.items() if field.pop("default", fields) is not fields]
    return schema | {"required": [*schema.get("required", ()), *constant]} if constant else schema
