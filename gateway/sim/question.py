"""One question to a gateway on this machine, sent as a client does: streamed, and timed by the client."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Any

import orjson

from gateway.errors import GatewayError

IDLE_TIMEOUT = 60.0  # seconds without a byte
DATA = b"data: "
LATE_ENDPOINT = b": endpoint "  # the comment that names it, when the headers were sent before it was known


class Unanswered(GatewayError):
    """There is no complete answer, with a message for the user."""


@dataclass(frozen=True, slots=True)
class AnswerTiming:
    """An answer's endpoint, usage and times, in seconds from sending the question."""

    endpoint: str
    cache: str  # the `x-gateway-cache` header: hit, miss, off
    ttft: float
    seconds: float
    prompt_tokens: int
    output_tokens: int
    usd: float


def ask(port: int, question: str, show: Callable[[str], None]) -> AnswerTiming:
    """Sends the question; `show` gets the answer piece by piece. Raises Unanswered."""
    body = {
        "model": "deepseek-v3.2",
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"content-type": "application/json", "x-gateway-cache": "on"}
    connection = HTTPConnection("127.0.0.1", port, timeout=IDLE_TIMEOUT)
    sent = monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", orjson.dumps(body), headers)
        return _read(connection.getresponse(), sent, show)
    except (OSError, HTTPException, ValueError, KeyError) as error:
        raise Unanswered(f"the gateway gave no answer: {error!r}") from None
    finally:
        connection.close()


def _read(response: HTTPResponse, sent: float, show: Callable[[str], None]) -> AnswerTiming:
    if response.status != 200:
        raise Unanswered(f"the gateway answered {response.status}: {orjson.loads(response.read())['error']['message']}")
    endpoint = response.headers.get("x-gateway-endpoint", "")
    first: float | None = None
    usage: dict[str, Any] = {}
    for line in _lines(response):
        if line.startswith(LATE_ENDPOINT):
            endpoint = line.removeprefix(LATE_ENDPOINT).decode()
        if not line.startswith(DATA):
            continue
        chunk = orjson.loads(line.removeprefix(DATA))
        if "error" in chunk:
            raise Unanswered(f"the answer broke off: {chunk['error']['message']}")
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            if piece := choice["delta"].get("content"):
                first = first or monotonic()
                show(piece)
    ended = monotonic()
    return AnswerTiming(
        endpoint=endpoint,
        cache=response.headers.get("x-gateway-cache", ""),
        ttft=(first or ended) - sent,
        seconds=ended - sent,
        prompt_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        usd=usage["cost"],
    )


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    """The lines of a stream up to `[DONE]`. Raises Unanswered for a stream that breaks off."""
    for line in response:
        if line.strip() == DATA + b"[DONE]":
            return
        yield line.strip()
    raise Unanswered("the answer broke off without an end")
