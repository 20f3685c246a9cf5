"""An answer as bytes in OpenAI's shape: events of a stream, a whole body, or an error body."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import orjson

from gateway.sim.sim_answer import SimAnswer, ToolCall
from gateway.types import Dialect, Usage

CHUNK_TOKENS = (1, 2, 1, 3, 1, 2)  # tokens of successive chunks, as hosts batch them
DONE = b"data: [DONE]\n\n"
ERRORS = {
    400: ("invalid_request_error", "Invalid request: the body could not be understood"),
    401: ("authentication_error", "Invalid API key"),
    402: ("insufficient_quota", "Insufficient balance"),
    404: ("not_found_error", "The model does not exist"),
    413: ("invalid_request_error", "Request body too large"),
    422: ("invalid_request_error", "Invalid parameter"),
    429: ("rate_limit_error", "Model busy, retry later"),
    500: ("server_error", "Internal server error"),
    502: ("server_error", "Bad gateway"),
    503: ("server_error", "Service overloaded, try again"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The fields that all chunks of one reply share."""

    id: str
    created: int  # unix seconds
    model: str
    dialect: Dialect
    logprobs: bool = False

    def chunk(self, delta: dict[str, Any], tokens: Sequence[str] = (), finish: str | None = None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
        if self.logprobs and tokens:
            choice["logprobs"] = _logprobs(tokens)
        body = self._head("chat.completion.chunk", [choice])
        if self.dialect.null_usage:
            body["usage"] = None
        return body

    def usage_chunk(self) -> dict[str, Any]:
        return self._head("chat.completion.chunk", [])

    def whole(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self._head("chat.completion", [choice]) | {"system_fingerprint": None}

    def _head(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def stream(
    frame: Frame, answer: SimAnswer, usage: Usage, usage_chunk: bool, include_usage: bool
) -> Iterator[tuple[bytes, int]]:
    """Events, each with its number of tokens.

    `usage_chunk`: usage in a separate chunk, and only when requested by `include_usage`; otherwise it is always on the
    finish chunk.
    """
    field = _reasoning_field(frame.dialect)
    yield event(frame.chunk({"role": "assistant", "content": ""})), 0
    for batch in _batches(answer.reasoning):
        yield event(frame.chunk({"content": None, field: "".join(batch)})), len(batch)
    for batch in _batches(answer.content):
        yield event(frame.chunk({"content": "".join(batch)}, batch)), len(batch)
    for index, call in enumerate(answer.calls):
        first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield event(frame.chunk({"content": None, "tool_calls": [first]})), 0
        for batch in _batches(call.arguments):
            piece = {"index": index, "function": {"arguments": "".join(batch)}}
            yield event(frame.chunk({"tool_calls": [piece]})), len(batch)
    last = frame.chunk({}, finish=answer.finish)
    if not usage_chunk:
        last["usage"] = usage_body(usage)
    yield event(last), 0
    if usage_chunk and include_usage:
        yield event(frame.usage_chunk() | {"usage": usage_body(usage)}), 0
    yield DONE, 0


def whole(frame: Frame, answer: SimAnswer, usage: Usage) -> bytes:
    """The body of a reply that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.content)}
    if answer.reasoning:
        message[_reasoning_field(frame.dialect)] = "".join(answer.reasoning)
    if answer.calls:
        message["content"] = None
        message["tool_calls"] = [_call(call) for call in answer.calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(answer.content) if frame.logprobs else None,
        "finish_reason": answer.finish,
    }
    return orjson.dumps(frame.whole(choice) | {"usage": usage_body(usage)})


def event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def error(status: int, message: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind, usual = ERRORS.get(status, ERRORS[500])
    return {"error": {"message": message or usual, "type": kind, "param": None, "code": code or str(status)}}


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _reasoning_field(dialect: Dialect) -> str:
    return "reasoning" if dialect.reasoning_field == "reasoning" else "reasoning_content"


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": "".join(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _batches(tokens: Sequence[str]) -> Iterator[Sequence[str]]:
    start = 0
    for size in cycle(CHUNK_TOKENS):
        if start >= len(tokens):
            return
        yield tokens[start : start + size]
        start += size


def _logprobs(tokens: Sequence[str]) -> dict[str, Any]:
    content = [
        {"token": token, "logprob": -0.1 * (1 + len(token) % 5), "bytes": list(token.encode()), "top_logprobs": []}
        for token in tokens
    ]
    return {"content": content}
