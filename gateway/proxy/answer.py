"""The client's side of an exchange: heads, errors, keep-alive comments. What a sink is told stands here, once."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from gateway.errors import BadRequest, ClientError, ContextTooLong, NoEndpoint, UpstreamError
from gateway.proxy import anthropic, openrouter
from gateway.proxy.sink import Headers, Sink
from gateway.route.exchange import CONTENT_FILTER
from gateway.route.filters import CONTEXT, room
from gateway.route.plan import Plan
from gateway.types import Endpoint, Failure, Request, Surface, gives_less, most_output
from gateway.upstream import sse
from gateway.upstream.wording import counted

KEEP_ALIVE = b": keep-alive\n\n"
PADDING = b"\n"  # white space before JSON, for a client that waits for a whole answer
WAITING: dict[Surface, bytes] = {"openai": KEEP_ALIVE, "openrouter": b": OPENROUTER PROCESSING\n\n"}
NAMED = 3  # endpoints that a message names where one reason removed them; `metadata` names all
WITHOUT_HINT = 1.0  # seconds to wait after a 429 that does not say how long
JSON = (b"content-type", b"application/json")
_STREAM_HEAD: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def about(request: Request, cache: str, attempts: int, endpoint: str) -> Headers:
    """What every answer to a routed request says about itself; `endpoint` is empty while none has answered."""
    return [
        (b"x-generation-id", request.id.encode()),
        (b"x-gateway-attempts", b"%d" % attempts),
        *_routed(request.policy, cache, endpoint, request.surface),
    ]


def shortened(request: Request, plan: Plan, endpoint: str) -> Headers:
    """What `max_tokens` the endpoint was given, where that is fewer than were asked for."""
    for one in plan.endpoints:
        if one.id == endpoint:
            return [(b"x-gateway-max-tokens", b"%d" % (one.max_output or 0))] if gives_less(one, request) else []
    return []


@lru_cache(maxsize=4096)
def _routed(policy: str, cache: str, endpoint: str, surface: Surface) -> Headers:
    """All of them are names from configuration."""
    head = [(b"x-gateway-policy", policy.encode()), (b"x-gateway-cache", cache.encode())]
    if surface == "openrouter" and cache != "off":
        head.append((b"x-openrouter-cache-status", b"HIT" if cache == "hit" else b"MISS"))
    return [*head, (b"x-gateway-endpoint", endpoint.encode())] if endpoint else head


def stream_head(headers: Headers) -> Headers:
    return [*_STREAM_HEAD, *headers]


def comment(endpoint: str, attempts: int, continues: bool = False) -> bytes:
    """Who answers, in a stream whose headers left before that was known; or who goes on with the text of another."""
    return b": %s %s, attempts %d\n\n" % (b"continued by" if continues else b"endpoint", endpoint.encode(), attempts)


def send_json(sink: Sink, status: int, payload: Any, headers: Headers) -> None:
    """A whole JSON response."""
    body = orjson.dumps(payload)
    head = [JSON, (b"content-length", b"%d" % len(body)), *headers]
    sink.start(status, head)
    sink.write(body)
    sink.end()


def surface_of(path: str) -> Surface:
    """Whose words the clients of this path read."""
    return "openrouter" if path.startswith("/api/") else "openai"


def error_body(
    error: ClientError, surface: Surface, request: Request | None = None, plan: Plan | None = None
) -> dict[str, Any]:
    return error.body() if surface == "openai" else openrouter.error_body(error, request, plan)


def refusal(error: ClientError, path: str, *, to_anthropic: bool = False) -> dict[str, Any]:
    """The whole body of an error that no handler tells, because none was asked: in the words of this path's clients."""
    if to_anthropic or path.startswith(anthropic.PATHS):
        return anthropic.error_body(error.status, error.body()["error"])
    return error_body(error, surface_of(path))


def send_error(sink: Sink, error: ClientError, headers: Headers, body: dict[str, Any]) -> None:
    """An error as a whole response, told by `body`, with the headers that are its own."""
    send_json(sink, error.status, body, [*headers, *error.headers(), *anthropic.head_of(error.status, body)])


def streamed_error(error: ClientError) -> dict[str, Any]:
    """An error inside a stream, in OpenAI's words, and what would have been its `status`."""
    return {"error": {**error.body()["error"], "status": error.status}}


def error_event(request: Request, error: ClientError, plan: Plan, endpoint: str, head: Mapping[str, Any]) -> bytes:
    """An error after the wire commit: a chunk that SDKs raise on, and never [DONE] after it. `endpoint` is whose the
    answer was, if anybody's; `head` what its chunks had in common."""
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
    """The error for a fault of ours. What happened is in the log."""
    return ClientError("the gateway failed to handle this request", code="internal_error")


def shutting_down() -> ClientError:
    """The error for an exchange that outlives the drain."""
    return ClientError(
        "the gateway is shutting down", status=503, code="shutting_down", retry_after=WITHOUT_HINT, final=True
    )


def gave_up(request: Request, plan: Plan, failures: Sequence[tuple[str, Failure]]) -> ClientError:
    """The error for an exchange that no endpoint answered."""
    if not failures:
        return _nothing_left(request, plan)
    endpoint, last = failures[-1]
    if last.fault.of_request:
        return _clients_own(request, plan, failures)
    metadata = {"attempts": [_told(endpoint, failure) for endpoint, failure in failures]}
    status = _status([failure for _, failure in failures])
    if request.surface == "openrouter":
        status = openrouter.STATUSES.get(status, status)
    waits = [failure.retry_after for _, failure in failures if failure.retry_after is not None]
    return UpstreamError(
        f"{endpoint}: {last.message}"
        if len(failures) == 1
        else f"{len(failures)} endpoints failed, the last was {endpoint}: {last.message}",
        status=status,
        code="rate_limit_exceeded" if status == 429 else last.fault,
        retry_after=min(waits, default=WITHOUT_HINT if status == 429 else None),
        metadata=metadata,
    )


def broke(endpoint: str, failure: Failure) -> ClientError:
    """The error for an answer that ended badly after its first token."""
    return UpstreamError(
        f"{endpoint}: the answer broke off: {failure.message}",
        code=failure.fault,
        metadata={"attempts": [_told(endpoint, failure)]},
    )


def _clients_own(request: Request, plan: Plan, failures: Sequence[tuple[str, Failure]]) -> ClientError:
    """The request itself was refused: the host's words, from every host that refused it. OpenRouter's clients expect
    that another model is asked where the content was refused."""
    refusals = [(name, failure) for name, failure in failures if failure.fault.of_request]
    message = "; ".join(f"{name}: {failure.message}" for name, failure in refusals)
    last = refusals[-1][1]
    metadata = {"attempts": [_told(endpoint, failure) for endpoint, failure in failures]}
    if last.param == "context":
        return _overflow(request, last.message, message, metadata)
    final = last.param == CONTENT_FILTER and plan.policy.content_filter == "final" and request.surface != "openrouter"
    return BadRequest(message, status=last.status, param=last.param, code=last.code, metadata=metadata, final=final)


def _overflow(request: Request, words: str, message: str, metadata: dict[str, Any]) -> ClientError:
    """A host has no room. Where it says that the prompt alone would fit, `max_tokens` is what is too large."""
    prompt, limit = counted(words)
    if prompt is None or limit is None:
        return ContextTooLong(message, metadata=metadata)
    sizes = {"prompt_tokens": prompt, "max_tokens": request.max_tokens, "largest_context": limit}
    param = "max_tokens" if request.max_tokens and prompt < limit else "messages"
    return ContextTooLong(message, metadata=metadata | sizes, param=param)


def _nothing_left(request: Request, plan: Plan) -> ClientError:
    """Which constraint removed which endpoint."""
    removed = [
        {"endpoint": one.endpoint.id, "constraint": one.reason.rule, "detail": one.reason.detail}
        for one in plan.dropped
    ]
    told = _grouped(removed) or "none is configured"
    message = f"no endpoint can serve this request under policy {plan.policy.name}: {told}"
    dropped = [one.endpoint for one in plan.dropped if one.reason.rule == CONTEXT]
    too_small = [endpoint for endpoint in dropped if request.prompt_tokens > room(endpoint, request)]
    if too_small:
        return _too_long(request, too_small, removed)
    return NoEndpoint(message, status=404 if removed else 503, metadata={"removed": removed})


def _grouped(removed: list[dict[str, str]]) -> str:
    """Each reason once, with whom it removed: names where they are few, else how many."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in removed:
        groups.setdefault((one["constraint"], one["detail"]), []).append(one["endpoint"])
    told = []
    for (constraint, detail), names in groups.items():
        who = ", ".join(names) if len(names) <= NAMED else f"{len(names)} endpoints"
        if 1 < len(names) == len(removed):
            who = f"all {len(names)}"
        told.append(f"{who}: {constraint} ({detail})")
    return "; ".join(told)


def _too_long(request: Request, endpoints: list[Endpoint], removed: list[dict[str, str]]) -> ClientError:
    """By how much the request is too long, at the endpoint where most would fit of those that it could go to; those
    come first where the prompt alone would fit, and `max_tokens` is what is too large."""
    alone = [one for one in endpoints if request.prompt_tokens < min(one.context, (one.max_input or one.context) + 1)]
    largest = max(alone or endpoints, key=lambda endpoint: room(endpoint, request))
    prompt, answer = request.prompt_tokens, most_output(largest, request) or 0
    over = prompt - room(largest, request)
    bound_by_input = largest.max_input is not None and room(largest, request) == largest.max_input
    most = largest.max_input if bound_by_input else largest.context
    needed = prompt if bound_by_input else prompt + answer
    asked = f"about {prompt:,} in the prompt" + (f" and {answer:,} for the answer" if answer else "")
    message = (
        f"the maximum context length for this request is {most:,} tokens{' of prompt' if bound_by_input else ''}, at"
        f" {largest.id}; it needs {needed:,} ({asked}): over by {over:,}"
    )
    if alone:
        message += f"; `max_tokens` may be up to {largest.context - prompt:,}"
    figures = {"needed_tokens": needed, "largest_context": most, "over_by": over}
    sizes = {"endpoint": largest.id, "prompt_tokens": prompt, "max_tokens": answer or None}
    param = "max_tokens" if alone else "messages"
    return ContextTooLong(message, metadata={**figures, **sizes, "removed": removed}, param=param)


def _status(failures: list[Failure]) -> int:
    """429 or 504 where each attempt ended so, 503 where no host took the request."""
    statuses = {failure.fault.status for failure in failures}
    if statuses in ({429}, {504}):
        return statuses.pop()
    return 503 if all(failure.fault.unavailable for failure in failures) else 502


def _told(endpoint: str, failure: Failure) -> dict[str, Any]:
    return {"endpoint": endpoint, "fault": failure.fault, "status": failure.status, "message": failure.message}
