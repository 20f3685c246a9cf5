"""What is asked by way of litellm: what a client may say to it, and what it may say to the host."""

from typing import Any, NamedTuple

from gateway.upstream.transport.address import authority
from gateway.upstream.transport.pool import Origin

# What a client may say. litellm takes keys, addresses and callbacks from the same arguments, so nothing else passes.
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
_OURS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})  # headers


class Question(NamedTuple):
    """One request as litellm wants it sent."""

    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Refused(Exception):
    """The question cannot be asked; `param` names what is in the way."""

    status_code = 400

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """A body of which every part is for the host. Raises Refused."""
    body.pop("model", None)
    if body.get("n") == 1:
        del body["n"]  # litellm reads one choice of a stream
    for name in body.keys() - FORWARDED:
        raise Refused(f"unsupported parameter: {name!r}", name)
    for message in body.get("messages", ()):
        parts = message.get("content")
        if isinstance(parts, list) and any(not isinstance(one, dict) or one.get("type") != "text" for one in parts):
            raise Refused("unsupported content: text only", "messages")  # litellm would fetch an image's address
    return body


def request_head(question: Question, origin: Origin) -> bytes:
    """The question's head, for the endpoint's origin. Raises Refused."""
    path = question.url.split("/", 3)[3] if question.url.count("/") > 2 else ""
    lines = [f"{question.method} /{path} HTTP/1.1".encode("ascii"), b"Host: " + authority(origin).encode("ascii")]
    lines += [name + b": " + value for name, value in question.headers if name.decode("latin-1").lower() not in _OURS]
    lines += [b"Accept-Encoding: identity", b"Content-Length: %d" % len(question.body)]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise Refused("a line break in a request's head")
    return b"\r\n".join([*lines, b"\r\n"])
