"""What depends on the client dialect at each answer: its shape, response headers, errors, keep-alive comments."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from gateway.errors import ClientError
from gateway.route.plan import Plan
from gateway.surface.anthropic import errors as anthropic
from gateway.surface.openrouter import errors as openrouter
from gateway.surface.openrouter.shape import OpenRouterShape
from gateway.types import Endpoint, Request, Surface
from gateway.types.sink import Headers, Sink
from gateway.upstream import sse
from gateway.upstream.shape import Hiding, OpenAIShape, Shape

KEEP_ALIVE = b": keep-alive\n\n"
PADDING = b"\n"  # white space before a JSON body: keeps the connection of a client that does not stream open
WAITING: dict[Surface, bytes] = {"openai": KEEP_ALIVE, "openrouter": b": OPENROUTER PROCESSING\n\n"}
JSON = (b"content-type", b"application/json")
_STREAM_HEAD: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def about(request: Request, cache: str, attempts: int, endpoint: str) -> Headers:
    """The gateway's headers of every response to a routed request. `endpoint` is empty until one has answered."""
    return [
        (b"x-generation-id", request.id.encode()),
        (b"x-gateway-attempts", b"%d" % attempts),
        *_routed(request.policy, cache, endpoint, request.surface),
    ]


@lru_cache(maxsize=4096)
def _routed(policy: str, cache: str, endpoint: str, surface: Surface) -> Headers:
    """Cached by names from the configuration, so the cache is bounded."""
    head = [(b"x-gateway-policy", policy.encode()), (b"x-gateway-cache", cache.encode())]
    if surface == "openrouter" and cache != "off":
        head.append((b"x-openrouter-cache-status", b"HIT" if cache in ("hit", "joined") else b"MISS"))
    return [*head, (b"x-gateway-endpoint", endpoint.encode())] if endpoint else head


def stream_head(headers: Headers) -> Headers:
    return [*_STREAM_HEAD, *headers]


def comment(endpoint: str, attempts: int, continues: bool = False) -> bytes:
    """The SSE comment that names the endpoint: of a stream whose headers were sent before one answered, or, with
    `continues`, of the endpoint that continues another's text."""
    return b": %s %s, attempts %d\n\n" % (b"continued by" if continues else b"endpoint", endpoint.encode(), attempts)


def send_json(sink: Sink, status: int, payload: Any, headers: Headers) -> None:
    """Sends a complete JSON response."""
    body = orjson.dumps(payload)
    head = [JSON, (b"content-length", b"%d" % len(body)), *headers]
    sink.start(status, head)
    sink.write(body)
    sink.end()


def surface_of(path: str) -> Surface:
    """The client dialect of this path."""
    return "openrouter" if path.startswith("/api/") else "openai"


def shape_of(request: Request, endpoint: Endpoint, wall_time: float) -> Shape:
    """The shape of this endpoint's answer to `request`, sent at `wall_time` (Unix seconds)."""
    openrouter = request.surface == "openrouter"
    shape: Shape = OpenRouterShape(request, endpoint, wall_time) if openrouter else OpenAIShape(request.model)
    return Hiding(shape) if request.hides_reasoning else shape


def error_body(
    error: ClientError, surface: Surface, request: Request | None = None, plan: Plan | None = None
) -> dict[str, Any]:
    return error.body() if surface == "openai" else openrouter.error_body(error, request, plan)


def path_error_body(error: ClientError, path: str, *, to_anthropic: bool = False) -> dict[str, Any]:
    """The response body of an error raised before any handler ran, in the dialect of this path's clients."""
    if to_anthropic or path.startswith(anthropic.PATHS):
        return anthropic.error_body(error.status, error.body()["error"])
    return error_body(error, surface_of(path))


def send_error(sink: Sink, error: ClientError, headers: Headers, body: dict[str, Any]) -> None:
    """Sends an error as a complete response with `body`, and adds the error's own headers."""
    send_json(sink, error.status, body, [*headers, *error.headers(), *anthropic.head_of(error.status, body)])


def streamed_error(error: ClientError) -> dict[str, Any]:
    """An error inside a stream, in OpenAI's format, with the `status` that a response of its own would have."""
    return {"error": {**error.body()["error"], "status": error.status}}


def error_event(request: Request, error: ClientError, plan: Plan, endpoint: str, head: Mapping[str, Any]) -> bytes:
    """An error after the wire commit: a chunk on which SDKs raise; [DONE] never follows it. `endpoint` is the one that
    was answering, or empty; `head` holds the fields common to its chunks."""
    if request.surface == "openrouter":
        return sse.event(orjson.dumps(openrouter.error_chunk(request, error, plan, endpoint)))
    chunk = {
        "id": request.id,
        "object": "chat.completion.chunk",
        "created": request.created,
        "model": request.model,
        **head,
        **streamed_error(error),
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
    }
    return sse.event(orjson.dumps(chunk))


def internal_error() -> ClientError:
    """The error for an internal fault. The cause is in the log, not in the response."""
    return ClientError("the gateway failed to handle this request", code="internal_error")


def shutting_down() -> ClientError:
    """The error for an exchange still running when the drain period ends."""
    return ClientError("the gateway is shutting down", status=503, code="shutting_down", retry_after=1.0, final=True)
