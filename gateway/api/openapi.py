"""`GET /openapi.json`: what every route takes and answers, in OpenAPI 3.1, generated from the types.

    routes, each with its types (this file) ──> schemas of the types, by msgspec ──> bytes, made once

Tests hold it against the app: every route is in it, and answers are as it says.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any, TypedDict

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.api import account, chat_types, generation, health, listing_types, models, responses_kept
from gateway.api.anthropic import DEEPSEEK_MESSAGES
from gateway.api.anthropic_types import AnthropicMessage, MessagesRequest, TokenCount
from gateway.api.chat_types import ChatCompletion, ChatRequest, OpenRouterCompletion, TextCompletion, TextRequest
from gateway.api.error_types import AnthropicErrorBody, ErrorBody, OpenRouterErrorBody
from gateway.api.explain import ExplainedPlan
from gateway.api.field_types import COMPONENT, WITH_MODEL, ApiObject, Count, Data, DataList, Json
from gateway.api.openai import DEEPSEEK_CHAT
from gateway.api.options_types import RequestHeaders
from gateway.api.responses_types import OpenAIResponse, ResponsesRequest
from gateway.types import Model

_REFUSALS = {
    400: "the request is wrong, or a host refuses it",
    401: "no key, or not one of this gateway's",
    403: "a host refuses the request",
    404: "no such model or policy, or no endpoint fits",
    413: "the body is too large",
    415: "the body is compressed in a way that is not read",
    422: "a host refuses the request",
    429: "every endpoint that was tried is rate limited",
    500: "the gateway itself failed",
    502: "every attempt failed",
    503: "no endpoint is in use, every one is overloaded, or the gateway stops",
    504: "every attempt timed out",
    524: "every attempt timed out",
}
_POSTED: dict[str, tuple[str, Any, Any]] = {  # summary, request, answer
    "/v1/chat/completions": ("Chat completion", Annotated[ChatRequest, WITH_MODEL], ChatCompletion),
    "/v1/completions": ("Text completion", Annotated[TextRequest, WITH_MODEL], TextCompletion),
    "/v1/responses": ("OpenAI's Responses", Annotated[ResponsesRequest, WITH_MODEL], OpenAIResponse),
    "/v1/messages": ("Anthropic's Messages", MessagesRequest, AnthropicMessage),
    "/v1/messages/count_tokens": ("Estimated length of a prompt", MessagesRequest, TokenCount),
    "/v1/explain": ("The plan for a chat completion, not sent", Annotated[ChatRequest, WITH_MODEL], ExplainedPlan),
    "/api/v1/chat/completions": ("Chat completion", ChatRequest, OpenRouterCompletion),
    "/api/v1/completions": ("Text completion", TextRequest, TextCompletion),
    "/api/v1/responses": ("OpenAI's Responses", ResponsesRequest, OpenAIResponse),
    "/api/v1/messages": ("Anthropic's Messages", MessagesRequest, AnthropicMessage),
    "/api/v1/messages/count_tokens": ("Estimated length of a prompt", MessagesRequest, TokenCount),
}
_NOT_STREAMED = (TokenCount, ExplainedPlan)
_ABOUT_IT = ("x-generation-id", "x-gateway-endpoint", "x-gateway-policy", "x-gateway-attempts", "x-gateway-cache")
_SECURITY: list[Json] = [{"bearer": []}, {"x-api-key": []}, {}]
Operation = tuple[str, str, Json]  # path, method, what it takes and answers; types stand where schemas will


class OpenAPIDocument(TypedDict):
    openapi: str
    paths: Json


class PageData(ApiObject):
    """The figures of the model page, which `page.view` makes."""

    at: float
    worker: Count
    needs_key: bool
    policies: Json
    totals: Json
    models: list[Json]
    exchanges: list[Json]


class Document:
    """Made when it is first requested: most gateways never are."""

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
    paths: Json = {}
    for path, method, operation in (*_posts(), *_model_lists(), *_kept_responses(), *_openrouter_gets(), *_own_gets()):
        paths.setdefault(path, {})[method] = operation
    components = {"ModelName": _model_names(served)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "LLM gateway", "version": __version__},
        "paths": _with_schemas(paths, components),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _model_names(served: Iterable[Model]) -> Json:
    names = [name for model in served for name in (model.id, *model.aliases)]
    pattern = "^[^:@]*(@preset/[a-z0-9-]+)?(:[a-z0-9-]+)*$"
    by_policy = {"type": "string", "pattern": pattern, "description": "a name with a policy"}
    return {"anyOf": [{"enum": names}, by_policy]}


def _with_schemas(part: Any, components: Json) -> Any:
    """The same with a schema in place of each type under the key `schema`; adds the components that it refers to."""
    if isinstance(part, list):
        return [_with_schemas(one, components) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _schema(one, components) if name == "schema" else _with_schemas(one, components)
        for name, one in part.items()
    }


def _schema(kind: Any, components: Json) -> Json:
    """Of a type, or of any of several. A schema stays what it is."""
    if isinstance(kind, dict):
        return kind
    if isinstance(kind, tuple):
        return {"anyOf": [_schema(one, components) for one in kind]}
    (schema,), found = msgspec.json.schema_components((kind,), ref_template=COMPONENT)
    components |= {name: _answered(one) for name, one in found.items()}
    return schema


def _answered(schema: Json) -> Json:
    """A field with a default is always in an answer: only what is UNSET is left out."""
    fields = schema.get("properties", {})
    constant = [name for name, field in fields.items() if field.pop("default", fields) is not fields]
    return schema | {"required": [*schema.get("required", ()), *constant]} if constant else schema


def _posts() -> Iterator[Operation]:
    aliases = dict.fromkeys(DEEPSEEK_CHAT, "/v1/chat/completions")
    aliases |= {f"{DEEPSEEK_MESSAGES}{path}": f"/v1/messages{path}" for path in ("", "/count_tokens")}
    for path, known in {**dict(zip(_POSTED, _POSTED, strict=True)), **aliases}.items():
        summary, request, answer = _POSTED[known]
        refusal = AnthropicErrorBody if "/messages" in path else _refusal(path)
        unused = 504 if refusal is OpenRouterErrorBody else 524
        errors = _errors(refusal, *sorted(_REFUSALS.keys() - {unused}))
        operation = _operation(path, summary, answer, errors, header=RequestHeaders)
        operation["requestBody"] = {"required": True, "content": _json(request)}
        if answer not in _NOT_STREAMED:
            operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": chat_types.StreamEvent}
            operation["responses"]["200"]["headers"] = {name: {"schema": str} for name in _ABOUT_IT}
        yield path, "post", operation


def _model_lists() -> Iterator[Operation]:
    """Anthropic's clients are known by their header, and get its shape."""
    refusal = (ErrorBody, AnthropicErrorBody)
    every, one = (models.OpenAIModels, models.AnthropicModels), (models.OpenAIModel, models.AnthropicModel)
    for path in ("/v1/models", "/models"):
        yield path, "get", _operation(path, "The models", every, _errors(refusal, 401), header=models.ModelHeaders)
    path = "/v1/models/{name}"
    yield path, "get", _operation(path, "One model", one, _errors(refusal, 401, 404), header=models.ModelHeaders)


def _kept_responses() -> Iterator[Operation]:
    for start in ("/v1", "/api/v1"):
        errors = _errors(_refusal(start), 400, 401, 404, 503)
        one = f"{start}/responses/{{name}}"
        yield one, "get", _operation(one, "A response that is kept", OpenAIResponse, errors)
        yield one, "delete", _operation(one, "Forget a response", responses_kept.ForgottenResponse, errors)
        items = f"{one}/input_items"
        yield (
            items,
            "get",
            _operation(items, "Its input", responses_kept.ResponseItems, errors, query=responses_kept.ItemQuery),
        )


def _openrouter_gets() -> Iterator[Operation]:
    yield _openrouter("/models", "The models", listing_types.ModelPage, 400, query=listing_types.ModelQuery)
    yield _openrouter("/models/count", "How many models there are", Data[listing_types.ModelCount])
    yield _openrouter("/model/{author}/{slug}", "One model", Data[listing_types.ListedModel], 404)
    endpoints, figures = "/models/{author}/{slug}/endpoints", "Endpoints, and their figures"
    yield _openrouter(endpoints, figures, Data[listing_types.ModelEndpoints], 404)
    yield _openrouter("/providers", "Providers of the endpoints in use", DataList[listing_types.ListedProvider])
    yield _openrouter("/endpoints/zdr", "Endpoints that retain nothing", DataList[listing_types.ListedEndpoint])
    became = "What became of a request"
    yield _openrouter(
        "/generation", became, Data[generation.Generation], 400, 404, 503, query=generation.GenerationQuery
    )
    for path in ("/key", "/auth/key"):
        yield _openrouter(path, "What this key has spent", Data[account.KeyUsage], 503)
    yield _openrouter("/credits", "What this key has spent, in total", Data[account.CreditSums], 503)
    by_day = "By day, model and endpoint, of the last 30 days"
    yield _openrouter("/activity", by_day, DataList[account.ActivityLine], 400, 503, query=account.ActivityQuery)


def _openrouter(path: str, summary: str, answer: Any, *statuses: int, query: type | None = None) -> Operation:
    path = f"/api/v1{path}"
    return path, "get", _operation(path, summary, answer, _errors(OpenRouterErrorBody, 401, *statuses), query=query)


def _own_gets() -> Iterator[Operation]:
    for path in ("/health", "/health/live"):
        yield path, "get", _operation(path, "Whether the process answers", health.Live, {})
    unready = {"503": {"description": "it is not", "content": _json(health.Readiness)}}
    yield "/health/ready", "get", _operation("", "Whether an endpoint can be used", health.Readiness, unready)
    yield _text("/metrics", "Prometheus metrics of all workers", "text/plain")
    yield "/openapi.json", "get", _operation("", "This document", OpenAPIDocument, {})
    yield _text("/", "The model page", "text/html")
    missing = {"404": {"description": "no such file", "content": _json(ErrorBody)}}
    kinds = ("text/css", "text/javascript", "text/html", "image/svg+xml")
    yield _text("/page/static/{name}", "A file of the model page", *kinds, errors=missing)
    yield "/page/data.json", "get", _operation("", "The figures of the model page", PageData, {})


def _text(path: str, summary: str, *kinds: str, errors: Json | None = None) -> Operation:
    operation = _operation(path, summary, str, errors or {})
    operation["responses"]["200"]["content"] = {kind: {"schema": str} for kind in kinds}
    return path, "get", operation


def _operation(
    path: str, summary: str, answer: Any, errors: Json, header: Any = None, query: type | None = None
) -> Json:
    """`header` and `query` are the types of the route's header fields and query parameters."""
    operation: Json = {
        "summary": summary,
        "responses": {"200": {"description": "the answer", "content": _json(answer)}, **errors},
    }
    if "401" in errors:
        operation["security"] = _SECURITY
    parameters = [
        *({"name": name, "in": "path", "schema": str, "required": True} for name in re.findall(r"{(\w+)}", path)),
        *(_parameters("header", header) if header else ()),
        *(_parameters("query", query) if query else ()),
    ]
    return operation | {"parameters": parameters} if parameters else operation


def _parameters(place: str, fields: Any) -> Iterator[Json]:
    described = msgspec.json.schema(fields)["$defs"][fields.__name__]
    needed = described.get("required", ())
    for name, schema in described["properties"].items():
        yield {"name": name, "in": place, "schema": schema, "required": name in needed}


def _refusal(path: str) -> Any:
    return OpenRouterErrorBody if path.startswith("/api/") else ErrorBody


def _errors(body: Any, *statuses: int) -> Json:
    return {str(status): {"description": _REFUSALS[status], "content": _json(body)} for status in statuses}


def _json(kind: Any) -> Json:
    """Content of a type, or of any of several types."""
    return {"application/json": {"schema": kind}}
