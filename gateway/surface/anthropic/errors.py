"""Errors as Anthropic's clients read them.

{"type": "error", "error": {"type", "message", "metadata"}, "request_id"}
request-id: same as in the body     x-should-retry: false, if the same request would fail again
anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}, for a key with limits
"""

from random import Random
from typing import Any

from gateway.types.sink import Headers
from gateway.types.utc import utc_text

Json = dict[str, Any]

PATHS = ("/v1/messages", "/api/v1/messages", "/anthropic/")  # prefixes, also of paths without a route
TOO_LONG = "prompt is too long: "
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}  # Anthropic's error types by status; any other status below 500 is `invalid_request_error`
_RETRIABLE = frozenset({408, 409, 425, 429})  # statuses below 500 after which the same request may succeed
_LIMITS = b"x-ratelimit-"
_random = Random()


def new_request_id() -> str:
    """The id of a request that was rejected before it was routed."""
    return f"req_{_random.getrandbits(80):020x}"


def error_body(status: int, payload: Json, request_id: str | None = None) -> Json:
    """The response body for what OpenAI's API returns as `{"error": payload}`."""
    return {"type": "error", "error": error(status, payload), "request_id": request_id or new_request_id()}


def head_of(status: int, body: Json) -> Headers:
    """The headers of a response with this body; empty unless it is an error in Anthropic's format."""
    return head(status, body["request_id"]) if body.get("type") == "error" else []


def rate_limits(headers: Headers, now: float) -> Headers:
    """The headers about limits, with resets in seconds, as Anthropic sends them. `now` is unix time."""
    found: Headers = []
    for name, value in headers:
        if name.startswith(_LIMITS):
            what, _, kind = name.removeprefix(_LIMITS).partition(b"-")
            if what == b"reset":
                value = utc_text(now + int(value[:-1])).encode()
            found.append((b"anthropic-ratelimit-%b-%b" % (kind, what), value))
        else:
            found.append((name, value))
    return found


def head(status: int, request_id: str) -> Headers:
    """Anthropic's clients retry unless `x-should-retry` is false: Claude Code retries a wrong key for minutes."""
    name = (b"request-id", request_id.encode())
    return [name, (b"x-should-retry", b"false")] if 400 <= status < 500 and status not in _RETRIABLE else [name]


def error(status: int, payload: Json) -> Json:
    message = str(payload.get("message"))
    if payload.get("code") == "context_length_exceeded":
        message = _overflow(payload)
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    translated: Json = {"type": kind, "message": message}
    return translated | {"metadata": payload["metadata"]} if payload.get("metadata") else translated


def _overflow(payload: Json) -> str:
    """Anthropic's own messages, by which agents decide to shorten the conversation or to lower `max_tokens`."""
    figures, message = payload.get("metadata") or {}, str(payload.get("message"))
    prompt, answer, most = (figures.get(name) for name in ("prompt_tokens", "max_tokens", "largest_context"))
    if payload.get("param") == "max_tokens" and prompt and answer and most:
        limit = f"input length and `max_tokens` exceed context limit: {prompt} + {answer} > {most}"
        return f"{limit}, decrease input length or `max_tokens` and try again"
    return f"{TOO_LONG}{prompt} tokens > {most} maximum; {message}" if prompt and most else f"{TOO_LONG}{message}"
