"""The request by way of litellm: which fields of a client reach litellm, and the HTTP request that litellm wants
sent."""

from typing import Any, NamedTuple

from gateway.upstream.transport.address import authority
from gateway.upstream.transport.pool import Origin

# The fields of a client that reach litellm. It takes keys, addresses and callbacks from the same arguments, so no other
# field passes.
FORWARDED = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_tokens",
        "messages",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)
_OWN_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})  # set by us


class HostRequest(NamedTuple):
    """One HTTP request as litellm wants it sent."""

    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Refused(Exception):
    """The request cannot be sent; `param` names the field that prevents it."""

    status_code = 400

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The body with only fields that are meant for the host. Raises Refused."""
    body.pop("model", None)
    if body.get("n") == 1:
        del body["n"]  # litellm reads one choice of a stream
    for name in body.keys() - FORWARDED:
        raise Refused(f"unsupported parameter: {name!r}", name)
    for message in body.get("messages", ()):
        parts = message.get("content")
        if isinstance(parts, list) and any(not isinstance(one, dict) or one.get("type") != "text" for one in parts):
            raise Refused("unsupported content: text only", "messages")  # it fetches images
    return body


def request_head(request: HostRequest, origin: Origin, more: bytes = b"") -> bytes:
    """The head of the HTTP request, for the endpoint's origin, with `more` lines of headers. Raises Refused."""
    path = request.url.split("/", 3)[3] if request.url.count("/") > 2 else ""
    lines = [f"{request.method} /{path} HTTP/1.1".encode("ascii"), b"Host: " + authority(origin).encode("ascii")]
    lines += [
        name + b": " + value for name, value in request.headers if name.decode("latin-1").lower() not in _OWN_HEADERS
    ]
    lines += [b"Accept-Encoding: identity", b"Content-Length: %d" % len(request.body)]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise Refused("a line break in a request's head")
    return b"\r\n".join([*lines, more + b"\r\n"])
