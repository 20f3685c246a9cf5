"""A chat completion as an Anthropic message, whole or streamed; its errors as Anthropic's.

chunk, chunk, ..., [DONE]  ──>  message_start, blocks, message_delta, message_stop
a chunk with `error`       ──>  error, and nothing after it
a comment                  ──>  ping
"""

from typing import Any

import orjson

from gateway.surface.anthropic import errors as anthropic
from gateway.surface.anthropic.content_blocks import NEW, Blocks, Json, event
from gateway.types import Request, reasoning_text
from gateway.upstream.usage import read_usage

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_STOPPED_BY = ("stop_reason", "matched_stop")  # fields in which vLLM and SGLang return the matched stop sequence
_PING = event("ping")
_NOT_STOPPED: Json = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
_NOT_METERED: Json = {"cache_creation": None, "inference_geo": None, "service_tier": "standard"}  # fields of `usage`


class MessageAnswer:
    """A `Translation`. Before `to` has set the request, only `error` may be called."""

    __slots__ = ("_blocks", "_finish", "_input_tokens", "_model", "_name", "_started", "_stops", "_usage", "request_id")

    def __init__(self) -> None:
        self.request_id = anthropic.new_request_id()  # replaced by the request's own id
        self._started = False
        self._finish: Json = {}  # the choice that has the finish reason
        self._usage: Json | None = None

    def to(self, request: Request) -> None:
        self.request_id = request.id
        self._name = f"msg_{request.id.removeprefix('gen-')}"
        self._model = request.body["model"]  # as the client calls it
        self._stops = request.body.get("stop") or ()
        self._input_tokens = request.prompt_tokens  # estimated: `message_start` is sent before a host has counted
        self._blocks = Blocks(self._name)

    def whole(self, completion: Json) -> Json:
        choice = completion["choices"][0]
        content = _content(choice.get("message") or {}, self._name)
        called = any(block["type"] == "tool_use" for block in content)
        message = self._message(content, _usage(completion.get("usage")))
        return message | self._stop(choice, called)

    def error(self, status: int, error: Json) -> Json:
        return anthropic.error_body(status, error["error"], self.request_id)

    def chunk(self, chunk: Json) -> bytes:
        """Raises ValueError for a malformed chunk."""
        if error := chunk.get("error"):
            status = error.get("status")
            translated = anthropic.error(status if isinstance(status, int) else 500, error)
            return event("error", error=translated, request_id=self.request_id)
        self._usage = chunk.get("usage") or self._usage
        choice = next((one for one in chunk.get("choices") or () if one.get("index", 0) == 0), None)
        if choice is None:
            return b""
        if choice.get("finish_reason"):
            self._finish = choice
        return self._start() + self._content_events(choice.get("delta") or {})

    def waiting(self) -> bytes:
        return self._start() + _PING

    def done(self) -> bytes:
        start, closed = self._start(), self._blocks.close()
        stop = self._stop(self._finish, self._blocks.called)
        delta = event("message_delta", delta=stop | {"container": None}, usage=_usage(self._usage))
        return start + closed + delta + event("message_stop")

    def _content_events(self, delta: Json) -> bytes:
        out = b""
        if reasoning := reasoning_text(delta):
            out += self._blocks.reasoning(reasoning)
        if text := _message_text(delta):
            out += self._blocks.text(text)
        for piece in delta.get("tool_calls") or ():
            out += self._blocks.call(piece)
        return out

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        empty = self._message([], _usage({"prompt_tokens": self._input_tokens}))
        return event("message_start", message=empty | _NOT_STOPPED)

    def _message(self, content: list[Json], usage: Json) -> Json:
        about = {"id": self._name, "type": "message", "role": "assistant", "model": self._model, "container": None}
        return {**about, "content": content, "usage": {**_NOT_METERED, **usage}}

    def _stop(self, choice: Json, called: bool) -> Json:
        met = next((text for key in _STOPPED_BY if isinstance(text := choice.get(key), str)), None)
        if met in self._stops:
            return {**_NOT_STOPPED, "stop_reason": "stop_sequence", "stop_sequence": met}
        reason = _STOP_REASONS.get(choice.get("finish_reason", ""), "end_turn")
        return {**_NOT_STOPPED, "stop_reason": "tool_use" if called and reason == "end_turn" else reason}


def _content(message: Json, name: str) -> list[Json]:
    content: list[Json] = []
    if reasoning := reasoning_text(message):
        content.append({**NEW["thinking"], "thinking": reasoning, "signature": name})
    if (text := _message_text(message)).strip():
        content.append({**NEW["text"], "text": text})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        identity = call.get("id") or f"{name}_{len(content)}"
        own = {"id": identity, "name": function["name"], "input": _input(function.get("arguments"))}
        content.append({**NEW["tool_use"], **own})
    return content


def _message_text(message: Json) -> str:
    text = message.get("content") or message.get("refusal")
    return text if isinstance(text, str) else ""


def _input(arguments: Any) -> Json:
    """The arguments as an object. Anything else is passed under a name that fails the client's schema validation."""
    try:
        parsed = orjson.loads(arguments or "{}")
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"unparsed_arguments": arguments}


def _usage(chat_usage: Json | None) -> Json:
    used = read_usage(chat_usage)
    usage: Json = {
        "input_tokens": used.prompt - used.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached,
        "output_tokens": used.completion,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
        "server_tool_use": None,
    }
    return usage | {"cost": chat_usage["cost"]} if chat_usage and "cost" in chat_usage else usage
