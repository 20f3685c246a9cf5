"""Errors as Anthropic's clients read them.

{"type": "error", "error": {"type", "message", "metadata"}, "request_id"}
"""

from typing import Any

Json = dict[str, Any]

PATHS = ("/v1/messages", "/api/v1/messages")  # whatever is under these, routes or none
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(status: int, said: Json, request_id: str | None = None) -> Json:
    """The whole body of what OpenAI's clients would be told as `{"error": said}`."""
    return {"type": "error", "error": error(status, said), "request_id": request_id}


def error(status: int, said: Json) -> Json:
    """Agents shorten their conversation when they read that the prompt is too long, in these words."""
    message = str(said.get("message"))
    if "context_length_exceeded" in (said.get("code"), said.get("error_code")):
        message = f"prompt is too long: {message}"
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    told: Json = {"type": kind, "message": message}
    return told | {"metadata": said["metadata"]} if said.get("metadata") else told
