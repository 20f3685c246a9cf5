"""A chat completion as a response of OpenAI's Responses API: streamed events, and the complete response at the end.

    chunk ──> response.created, response.in_progress           once
              items: reasoning, message, function calls        in the order in which they begin
    done  ──> response.completed | response.incomplete         with the complete response
    error ──> error, response.failed                           and never response.completed

A whole completion is treated as one large chunk, so that both modes give the same response. A text item ends when an
item of another kind begins; function calls end with the response, because hosts may interleave their deltas.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.document.nesting import DEEPEST
from gateway.errors import BadRequest
from gateway.surface.answer import KEEP_ALIVE
from gateway.surface.responses.items import (
    COMPLETED,
    IN_PROGRESS,
    INCOMPLETE,
    REASONING,
    REFUSAL,
    SUMMARY,
    TEXT,
    CallItem,
    CustomCallItem,
    Event,
    Kind,
    TextItem,
)
from gateway.surface.responses.tools import NO_TOOLS, Tools
from gateway.upstream.reader import LARGEST_ANSWER

ITEM, PIECE = 1024, 64  # bytes that Python takes for an item, and for a piece of its text, besides the characters
_WHY_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Mapping[str, Any] = {  # fields of the request that the response repeats, with their defaults
    "frequency_penalty": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": None,
    "previous_response_id": None,
    "temperature": None,
    "tool_choice": "auto",
    "top_p": None,
}
_FUNCTION = {"parameters": None, "strict": None}  # fields that typed clients require
_ALWAYS: Mapping[str, Any] = {"background": False, "truncation": "disabled"}
_UNFINISHED: Mapping[str, Any] = {
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "output": [],
    "usage": None,
}
_COSTS = {  # `cost_details`: name in chat completions -> name in the Responses API
    "upstream_inference_cost": "upstream_inference_cost",
    "upstream_inference_prompt_cost": "upstream_inference_input_cost",
    "upstream_inference_completions_cost": "upstream_inference_output_cost",
}
Json = dict[str, Any]


class ResponseAnswer:
    """The `Translation` into one response.

    `body` is the client's request, `tools` are its tools, `name` is unique to the response, `wall_time` returns Unix
    seconds. `keep`, if given, stores the complete response before the client receives its end. All text is held until
    then, because the last event repeats it. Raises BadRequest if the request is nested too deeply to be repeated.
    """

    __slots__ = (
        "_calls",
        "_echo",
        "_finish",
        "_head",
        "_items",
        "_keep",
        "_model",
        "_number",
        "_open_text",
        "_reasoning_kind",
        "_response",
        "_room",
        "_tools",
        "_usage",
        "_wall_time",
    )

    def __init__(
        self,
        body: Mapping[str, Any],
        name: str,
        wall_time: Callable[[], float],
        tools: Tools = NO_TOOLS,
        keep: Callable[[Json], None] | None = None,
    ) -> None:
        self._response = name
        self._tools = tools
        self._keep = keep
        self._wall_time = wall_time
        self._head = {"id": f"resp_{name}", "object": "response", "created_at": int(wall_time())}
        self._echo = _echo(body)
        self._reasoning_kind = SUMMARY if (body.get("reasoning") or {}).get("summary") else REASONING
        self._model = ""  # until the first chunk
        self._number = 0  # of the next event
        self._items: list[TextItem | CallItem] = []
        self._open_text: TextItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._room = LARGEST_ANSWER  # bytes that the items may still take, about
        self._finish = ""
        self._usage: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Answer resp_{self._response} {self._items}>"

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        self._take({**completion, "choices": [_as_piece(choice) for choice in completion["choices"]]})
        self._close()
        return self._end()

    def error(self, status: int, error: dict[str, Any]) -> dict[str, Any]:
        """All of OpenAI's APIs share one error format."""
        return error

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        events = self._take(chunk)
        if error := chunk.get("error"):
            events += self._broken(error)
        return self._encoded(events)

    def waiting(self) -> bytes:
        return KEEP_ALIVE

    def done(self) -> bytes:
        events = self._close()
        response = self._end()
        return self._encoded([*events, (f"response.{response['status']}", {"response": response})])

    def _take(self, chunk: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        if not self._model:
            self._model = _text(chunk, "model") or "unknown"
            begun = {"response": self._snapshot(IN_PROGRESS)}
            events += [("response.created", begun), ("response.in_progress", begun)]
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            events += self._delta(choice.get("delta") or {})
            self._finish = _text(choice, "finish_reason") or self._finish
        return events

    def _delta(self, delta: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        if reasoning := _text(delta, "reasoning_content") or _text(delta, "reasoning"):
            events += self._add_text(self._reasoning_kind, reasoning)
        if content := _text(delta, "content"):
            events += self._add_text(TEXT, content)
        if refusal := _text(delta, "refusal"):
            events += self._add_text(REFUSAL, refusal)
        for piece in delta.get("tool_calls") or ():
            events += self._call(piece)
        return events

    def _add_text(self, kind: Kind, piece: str) -> list[Event]:
        events: list[Event] = []
        item = self._open_text
        if item is None or item.kind is not kind:
            events += self._close_text()
            item = self._open_text = TextItem(kind, self._response, len(self._items))
            self._items.append(item)
            self._use(ITEM)
            events += item.open()
        self._use(PIECE + len(piece))
        return [*events, item.append(piece)]

    def _call(self, piece: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        number, function = piece.get("index") or 0, piece.get("function") or {}
        call = self._calls.get(number)
        if call is None:
            events += self._close_text()
            tool = self._tools.called(_text(function, "name"))
            kind = CustomCallItem if tool.custom else CallItem
            call = kind(tool, _text(piece, "id"), self._response, len(self._items))
            self._calls[number] = call
            self._items.append(call)
            self._use(ITEM)
            events += call.open()
        if arguments := _text(function, "arguments"):
            self._use(PIECE + len(arguments))
            events += call.append(arguments)
        return events

    def _use(self, size: int) -> None:
        """Accounts for what is kept until the end of the answer. Raises ValueError where it is too much."""
        self._room -= size
        if self._room < 0:
            raise ValueError(f"more than {LARGEST_ANSWER} bytes")

    def _close_text(self) -> list[Event]:
        """Closes the open text item, if any."""
        item, self._open_text = self._open_text, None
        return item.close(COMPLETED) if item is not None else []

    def _close(self) -> list[Event]:
        """Closes all open items. If the response was cut off, its last item is incomplete."""
        cut = self._items[-1] if self._items and self._finish in _WHY_INCOMPLETE else None
        events: list[Event] = []
        for item in self._items:
            if item.status == IN_PROGRESS:
                events += item.close(INCOMPLETE if item is cut else COMPLETED)
        return events

    def _broken(self, error: dict[str, Any]) -> list[Event]:
        """Some SDKs raise on `error` events, others on `response.failed`: the stream has both."""
        code = error.get("code")  # a number in OpenRouter's format
        if not isinstance(code, str):
            code = (error.get("metadata") or {}).get("error_type") or "server_error"
        fields = {"code": code, "message": error.get("message"), "param": error.get("param")}
        reason = {"code": code if code == "rate_limit_exceeded" else "server_error", "message": fields["message"]}
        for item in self._items:
            if item.status == IN_PROGRESS:
                item.status = INCOMPLETE
        failed = self._snapshot("failed", error=reason, output=[item.whole() for item in self._items])
        return [
            ("error", {**fields, "error": {"type": error.get("type"), **fields}}),
            ("response.failed", {"response": failed}),
        ]

    def _final(self) -> dict[str, Any]:
        reason = _WHY_INCOMPLETE.get(self._finish)
        output, usage = [item.whole() for item in self._items], _usage(self._usage)
        if reason is not None:
            return self._snapshot(INCOMPLETE, incomplete_details={"reason": reason}, output=output, usage=usage)
        return self._snapshot(COMPLETED, completed_at=int(self._wall_time()), output=output, usage=usage)

    def _end(self) -> dict[str, Any]:
        """The complete response, stored before the client receives it and may refer to it."""
        response = self._final()
        if self._keep is not None:
            self._keep(response)
        return response

    def _snapshot(self, status: str, **fields: Any) -> dict[str, Any]:
        """The response object in its current state."""
        about = {**self._head, "status": status, "model": self._model}
        return {**about, **self._echo, **_ALWAYS, "store": self._keep is not None, **_UNFINISHED, **fields}

    def _encoded(self, events: list[Event]) -> bytes:
        out = []
        for name, fields in events:
            data = orjson.dumps({"type": name, "sequence_number": self._number, **fields})
            out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), data))
            self._number += 1
        return b"".join(out)


def _as_piece(choice: dict[str, Any]) -> dict[str, Any]:
    """A whole choice as one delta. In deltas, tool calls have an `index`."""
    message = choice.get("message") or {}
    calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls") or ())]
    return {"delta": {**message, "tool_calls": calls}, "finish_reason": choice.get("finish_reason")}


def _echo(body: Mapping[str, Any]) -> dict[str, orjson.Fragment]:
    """The request's fields that the response repeats, serialised once for up to three events."""
    echo = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
    echo["tools"] = [_tool(tool) for tool in body.get("tools") or ()]
    if body.get("user") is not None:
        echo["user"] = body["user"]
    echo["text"] = {"format": {"type": "text"}} | (body.get("text") or {})
    echo["reasoning"] = {"effort": None, "summary": None} | (body.get("reasoning") or {})
    try:
        return {name: orjson.Fragment(orjson.dumps(value)) for name, value in echo.items()}
    except orjson.JSONEncodeError:
        raise BadRequest(f"the body is nested deeper than {DEEPEST} levels") from None


def _tool(tool: Any) -> Any:
    return _FUNCTION | tool if isinstance(tool, dict) and tool.get("type") == "function" else tool


def _text(fields: Mapping[str, Any], name: str) -> str:
    """A string that may be null or absent. Raises ValueError for any other type, because hosts may send anything."""
    value = fields.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a string")
    return value


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The `usage` of a chat completion in the Responses API's format, with the cost in USD."""
    prompt, output = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    cached = {
        "cached_tokens": prompt.get("cached_tokens", 0),
        "cache_write_tokens": prompt.get("cache_write_tokens", 0),
    }
    translated = {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": cached,
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": output.get("reasoning_tokens", 0)},
        "total_tokens": usage.get("total_tokens", 0),
    }
    if "cost" in usage:
        translated["cost"] = usage["cost"]
    if costs := usage.get("cost_details"):
        translated["cost_details"] = {_COSTS[name]: value for name, value in costs.items() if name in _COSTS}
    return translated
