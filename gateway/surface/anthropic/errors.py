"""Errors as Anthropic's clients read them.

{"type": "error", "error": {"type", "message", "metadata"}, "request_id"}
request-id: the same     x-should-retry: false, where the same request would fail again
"""

from random import Random
from typing import Any

from gateway.types.sink import Headers

Json = dict[str, Any]

PATHS = ("/v1/messages", "/api/v1/messages", "/anthropic/")  # whatever is under these, routes or none
TOO_LONG = "prompt is too long: "
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}  # those that Anthropic's own types know; every other below 500 is an invalid request
_MAY_PASS = frozenset({408, 409, 425, 429})  # statuses below 500 after which the same request may do better
_random = Random()


def new_request_id() -> str:
    """The name of a request that was refused before it was routed."""
    return f"req_{_random.getrandbits(80):020x}"


def error_body(status: int, said: Json, request_id: str | None = None) -> Json:
    """The whole body of what OpenAI's clients would be told as `{"error": said}`."""
    return {"type": "error", "error": error(status, said), "request_id": request_id or new_request_id()}


def head_of(status: int, body: Json) -> Headers:
    """The header fields that belong to an answer with this body; none where it is not told in Anthropic's words."""
    return head(status, body["request_id"]) if body.get("type") == "error" else []


def head(status: int, request_id: str) -> Headers:
    """Clients retry on their own account where they are not told that it has no use: Claude Code a wrong key, for
    minutes."""
    name = (b"request-id", request_id.encode())
    return [name, (b"x-should-retry", b"false")] if 400 <= status < 500 and status not in _MAY_PASS else [name]


def error(status: int, said: Json) -> Json:
    message = str(said.get("message"))
    if said.get("code") == "context_length_exceeded":
        message = _overflow(said)
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    told: Json = {"type": kind, "message": message}
    return told | {"metadata": said["metadata"]} if said.get("metadata") else told


def _overflow(said: Json) -> str:
    """In the words by which agents know what to do: shorten the conversation, or ask for a shorter answer."""
    figures, message = said.get("metadata") or {}, str(said.get("message"))
    prompt, answer, most = (figures.get(name) for name in ("prompt_tokens", "max_tokens", "largest_context"))
    if said.get("param") == "max_tokens" and prompt and answer and most:
        limit = f"input length and `max_tokens` exceed context limit: {prompt} + {answer} > {most}"
        return f"{limit}, decrease input length or `max_tokens` and try again"
    return f"{TOO_LONG}{prompt} tokens > {most} maximum; {message}" if prompt and most else f"{TOO_LONG}{message}"
