"""`GET /openapi.json`: what every route takes and answers, in OpenAPI 3.1.

    openapi_asked ── requests ──┐
    openapi_told ─── answers ───┼──> document ──once──> bytes
    this file ────── routes ────┘

Tests hold it against the app: every route is in it, and answers are as it says.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.api import openapi_asked, openapi_told
from gateway.api.anthropic import DEEPSEEK_MESSAGES
from gateway.api.openai import DEEPSEEK_CHAT
from gateway.api.openapi_terms import TEXT, Schema, named, one_of
from gateway.types import Model

Json = dict[str, Any]

_SURFACES = {"/v1": "Error", "/api/v1": "OpenRouterError"}
_REFUSALS = {
    400: "the request is wrong, or a host refuses it",
    401: "no key, or not one of this gateway's",
    403: "a host refuses the request",
    404: "no such model or policy, or no endpoint fits",
    413: "the body is too large",
    415: "the body is compressed in a way that is not read",
    422: "a host refuses the request",
    429: "every endpoint that was asked is rate limited",
    500: "the gateway itself failed",
    502: "every attempt failed",
    503: "no endpoint is in use, every one is overloaded, or the gateway stops",
    504: "every attempt timed out",
    524: "every attempt timed out",
}
_TIMEOUTS = {"/v1": 524, "/api/v1": 504}  # which of the two each surface does not have
_POSTED = {  # path -> summary, request, answer, whether it is streamed where asked for
    "/chat/completions": ("Chat completion", "ChatRequest", "ChatCompletion", True),
    "/completions": ("Text completion", "TextRequest", "TextCompletion", True),
    "/responses": ("OpenAI's Responses", "ResponsesRequest", "Response", True),
    "/messages": ("Anthropic's Messages", "MessagesRequest", "Message", True),
    "/messages/count_tokens": ("Estimated length of a prompt", "MessagesRequest", "TokenCount", False),
    "/explain": ("The plan for a chat completion, not sent", "ChatRequest", "Plan", False),
}
_IN_ITS_WORDS = {
    ("/api/v1", "ChatCompletion"): "OpenRouterCompletion",
    ("/api/v1", "ChatRequest"): "OpenRouterChatRequest",
    ("/api/v1", "TextRequest"): "OpenRouterTextRequest",
    ("/api/v1", "ResponsesRequest"): "OpenRouterResponsesRequest",
}
_ONE_SURFACE = {"/explain": "/v1"}
_ABOUT_IT = ("x-generation-id", "x-gateway-endpoint", "x-gateway-policy", "x-gateway-attempts", "x-gateway-cache")


class Document:
    """Made when it is first asked for: most gateways never are."""

    def __init__(self, models: tuple[Model, ...]) -> None:
        self._models = models

    def routes(self) -> list[Route]:
        return [Route("/openapi.json", self._answer, methods=["GET"])]

    async def _answer(self, _: Request) -> Response:
        return Response(self._bytes, media_type="application/json")

    @cached_property
    def _bytes(self) -> bytes:
        return orjson.dumps(document(self._models))


def document(models: Iterable[Model]) -> Json:
    names = [name for model in models for name in (model.id, *model.aliases)]
    pattern = "^[^:@]*(@preset/[a-z0-9-]+)?(:[a-z0-9-]+)*$"
    by_policy = {"type": "string", "pattern": pattern, "description": "a name with a policy"}
    schemas = {
        "ModelName": {"anyOf": [one_of(*names), by_policy]},
        **openapi_asked.SCHEMAS,
        **openapi_told.SCHEMAS,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "LLM gateway", "version": __version__},
        "paths": {**_posts(), **_openai_gets(), **_kept_responses(), **_openrouter_gets(), **_own_gets()},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _posts() -> Json:
    paths: Json = {}
    for path, (summary, request, answer, streams) in _POSTED.items():
        for start, error in _SURFACES.items():
            if _ONE_SURFACE.get(path, start) == start:
                anthropic = path.startswith("/messages")
                refused = "AnthropicError" if anthropic else error
                taken, told = (_IN_ITS_WORDS.get((start, one), one) for one in (request, answer))
                statuses = sorted(_REFUSALS.keys() - {_TIMEOUTS["/v1" if anthropic else start]})
                paths[start + path] = {"post": _post(summary, taken, told, _errors(refused, *statuses), streams)}
    for path in ("", "/count_tokens"):
        paths[f"{DEEPSEEK_MESSAGES}{path}"] = paths[f"/v1/messages{path}"]
    return paths | dict.fromkeys(DEEPSEEK_CHAT, paths["/v1/chat/completions"])


def _post(summary: str, request: str, answer: str, errors: Json, streams: bool) -> Json:
    content: Json = {"application/json": {"schema": named(answer)}}
    good: Json = {"description": "the answer", "content": content}
    if streams:
        content["text/event-stream"] = {"schema": named("Event")}
        good["headers"] = {name: {"schema": TEXT} for name in _ABOUT_IT}
    return {
        "summary": summary,
        "security": [{"bearer": []}, {"x-api-key": []}, {}],
        "parameters": [_header(name, schema) for name, schema in openapi_asked.HEADERS.items()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": named(request)}}},
        "responses": {"200": good, **errors},
    }


def _openai_gets() -> Json:
    """Anthropic's clients are known by their header, and get its shape."""
    version = _header("anthropic-version", TEXT)
    error: Schema = {"anyOf": [named("Error"), named("AnthropicError")]}
    either = {name: {"anyOf": [named(f"OpenAI{name}"), named(f"Anthropic{name}")]} for name in ("Models", "Model")}
    refused = {str(status): _json(_REFUSALS[status], error) for status in (401, 404)}
    one = _get("One model", either["Model"], {}, _path("name"), version)
    one["responses"] |= refused
    every = _get("The models", either["Models"], {}, version)
    every["responses"]["401"] = refused["401"]
    return {"/v1/models": {"get": every}, "/models": {"get": every}, "/v1/models/{name}": {"get": one}}


def _kept_responses() -> Json:
    pages = (
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
        _query("order", one_of("asc", "desc")),
        _query("after", TEXT),
    )
    paths: Json = {}
    for start, error in _SURFACES.items():
        wrong, name = _errors(error, 400, 401, 404, 503), _path("name")
        one = f"{start}/responses/{{name}}"
        paths[one] = {
            "get": _get("A response that is kept", named("Response"), wrong, name),
            "delete": _get("Forget a response", named("ForgottenResponse"), wrong, name),
        }
        paths[f"{one}/input_items"] = {"get": _get("Its input", named("ResponseItems"), wrong, name, *pages)}
    return paths


def _openrouter_gets() -> Json:
    model = (_path("author"), _path("slug"))
    number: Schema = {"type": "integer", "maximum": 1_000}
    filters = (
        _query("offset", number | {"minimum": 0}),
        _query("limit", number | {"minimum": 1}),
        _query("q", TEXT),
        _query("supported_parameters", TEXT),
    )
    day = _query("date", {"type": "string", "format": "date"})
    gets = {
        "/models": _own("The models", "Models", (400,), *filters),
        "/models/count": _own("How many models there are", "Count"),
        "/model/{author}/{slug}": _own("One model", "OneModel", (404,), *model),
        "/models/{author}/{slug}/endpoints": _own("Endpoints, and their figures", "ModelEndpoints", (404,), *model),
        "/providers": _own("Providers of the endpoints in use", "Providers"),
        "/endpoints/zdr": _own("Endpoints that retain nothing", "EndpointList"),
        "/generation": _own("What became of a request", "Generation", (400, 404, 503), _query("id", TEXT, needed=True)),
        **dict.fromkeys(("/key", "/auth/key"), _own("What this key has spent", "Key", (503,))),
        "/credits": _own("What this key has spent, in total", "Credits", (503,)),
        "/activity": _own("By day, model and endpoint, of the last 30 days", "Activity", (400, 503), day),
    }
    return {f"/api/v1{path}": {"get": get} for path, get in gets.items()}


def _own(summary: str, answer: str, statuses: Iterable[int] = (), *parameters: Json) -> Json:
    return _get(summary, named(answer), _errors("OpenRouterError", 401, *statuses), *parameters)


def _own_gets() -> Json:
    ready = _get("Whether an endpoint can be asked", named("Ready"), {"503": _json("it is not", named("Ready"))})
    text = _get("Prometheus metrics of all workers", TEXT, {})
    text["responses"]["200"]["content"] = {"text/plain": {"schema": TEXT}}
    page = _get("The model page", TEXT, {})
    page["responses"]["200"]["content"] = {"text/html": {"schema": TEXT}}
    static = _get("A file of the model page", TEXT, {"404": _json("no such file", named("Error"))}, _path("name"))
    static["responses"]["200"]["content"] = {
        kind: {"schema": TEXT} for kind in ("text/css", "text/javascript", "text/html", "image/svg+xml")
    }
    gets = {
        **dict.fromkeys(("/health", "/health/live"), _get("Whether the process answers", named("Live"), {})),
        "/health/ready": ready,
        "/metrics": text,
        "/openapi.json": _get("This document", named("Document"), {}),
        "/": page,
        "/page/static/{name}": static,
        "/page/data.json": _get("The figures of the model page", named("PageData"), {}),
    }
    return {path: {"get": get} for path, get in gets.items()}


def _get(summary: str, answer: Schema, errors: Mapping[str, Json], *parameters: Json) -> Json:
    get: Json = {"summary": summary, "responses": {"200": _json("the answer", answer), **errors}}
    if "401" in errors or "anthropic-version" in {one["name"] for one in parameters}:
        get["security"] = [{"bearer": []}, {"x-api-key": []}, {}]
    return get | {"parameters": list(parameters)} if parameters else get


def _errors(schema: str, *statuses: int) -> Json:
    return {str(status): _json(_REFUSALS[status], named(schema)) for status in statuses}


def _json(description: str, schema: Schema) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _header(name: str, schema: Schema) -> Json:
    return {"name": name, "in": "header", "schema": schema}


def _query(name: str, schema: Schema, *, needed: bool = False) -> Json:
    return {"name": name, "in": "query", "schema": schema, "required": needed}


def _path(name: str) -> Json:
    return {"name": name, "in": "path", "schema": TEXT, "required": True}
