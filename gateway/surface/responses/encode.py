"""A chat completion as a response of OpenAI's Responses API: its events as they come, and the whole at its end.

    chunk ──> response.created, response.in_progress           once
              items: reasoning, message, function calls        in the order in which they begin
    done  ──> response.completed | response.incomplete         with everything again
    error ──> error, response.failed                           and never an end as if all were well

A whole completion is one large chunk, so that both modes say the same. Text before another kind of text ends there;
function calls end with the response, because hosts may mix their pieces.
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
    REFUSAL,
    SUMMARY,
    TEXT,
    THOUGHT,
    CallItem,
    CustomCallItem,
    Event,
    Kind,
    TextItem,
)
from gateway.surface.responses.tools import NO_TOOLS, Tools

_WHY_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Mapping[str, Any] = {  # fields of the request that come back, and what stands for those that were not given
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
_FUNCTION = {"parameters": None, "strict": None}  # what typed clients want to find in one
_ALWAYS: Mapping[str, Any] = {"background": False, "truncation": "disabled"}
_UNFINISHED: Mapping[str, Any] = {
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "output": [],
    "usage": None,
}
_COSTS = {  # of chat's `cost_details`, by their names here
    "upstream_inference_cost": "upstream_inference_cost",
    "upstream_inference_prompt_cost": "upstream_inference_input_cost",
    "upstream_inference_completions_cost": "upstream_inference_output_cost",
}
Json = dict[str, Any]


class ResponseAnswer:
    """A `Translation` into one response.

    `body` is the client's request, `tools` are its tools, `name` is unique to the response, `unix` tells the seconds.
    `keep`, if there is one, gets the response at its end, before the client does. It holds the whole text until then,
    because the last event repeats it. Raises BadRequest for a request that is nested too deeply to be told again.
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
        "_response",
        "_speaking",
        "_thought",
        "_tools",
        "_unix",
        "_usage",
    )

    def __init__(
        self,
        body: Mapping[str, Any],
        name: str,
        unix: Callable[[], float],
        tools: Tools = NO_TOOLS,
        keep: Callable[[Json], None] | None = None,
    ) -> None:
        self._response = name
        self._tools = tools
        self._keep = keep
        self._unix = unix
        self._head = {"id": f"resp_{name}", "object": "response", "created_at": int(unix())}
        self._echo = _echo(body)
        self._thought = SUMMARY if (body.get("reasoning") or {}).get("summary") else THOUGHT
        self._model = ""  # until the first chunk
        self._number = 0  # of the next event
        self._items: list[TextItem | CallItem] = []
        self._speaking: TextItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._finish = ""
        self._usage: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Answer resp_{self._response} {self._items}>"

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        self._take({**completion, "choices": [_as_piece(choice) for choice in completion["choices"]]})
        self._close()
        return self._end()

    def error(self, status: int, error: dict[str, Any]) -> dict[str, Any]:
        """Errors have one shape in all of OpenAI's APIs."""
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
            begun = {"response": self._told(IN_PROGRESS)}
            events += [("response.created", begun), ("response.in_progress", begun)]
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            events += self._delta(choice.get("delta") or {})
            self._finish = _text(choice, "finish_reason") or self._finish
        return events

    def _delta(self, delta: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        if thought := _text(delta, "reasoning_content") or _text(delta, "reasoning"):
            events += self._say(self._thought, thought)
        if content := _text(delta, "content"):
            events += self._say(TEXT, content)
        if refusal := _text(delta, "refusal"):
            events += self._say(REFUSAL, refusal)
        for piece in delta.get("tool_calls") or ():
            events += self._call(piece)
        return events

    def _say(self, kind: Kind, piece: str) -> list[Event]:
        events: list[Event] = []
        item = self._speaking
        if item is None or item.kind is not kind:
            events += self._fall_silent()
            item = self._speaking = TextItem(kind, self._response, len(self._items))
            self._items.append(item)
            events += item.open()
        return [*events, item.say(piece)]

    def _call(self, piece: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        number, function = piece.get("index") or 0, piece.get("function") or {}
        call = self._calls.get(number)
        if call is None:
            events += self._fall_silent()
            tool = self._tools.called(_text(function, "name"))
            kind = CustomCallItem if tool.custom else CallItem
            call = kind(tool, _text(piece, "id"), self._response, len(self._items))
            self._calls[number] = call
            self._items.append(call)
            events += call.open()
        if arguments := _text(function, "arguments"):
            events += call.say(arguments)
        return events

    def _fall_silent(self) -> list[Event]:
        """The text that was being said is over."""
        item, self._speaking = self._speaking, None
        return item.close(COMPLETED) if item is not None else []

    def _close(self) -> list[Event]:
        """Ends what is open. Where the response was cut short, its last item was."""
        cut = self._items[-1] if self._items and self._finish in _WHY_INCOMPLETE else None
        events: list[Event] = []
        for item in self._items:
            if item.status == IN_PROGRESS:
                events += item.close(INCOMPLETE if item is cut else COMPLETED)
        return events

    def _broken(self, error: dict[str, Any]) -> list[Event]:
        """SDKs raise on an event with `error`; those that do not read it know `response.failed`."""
        code = error.get("code")  # a number in OpenRouter's words
        if not isinstance(code, str):
            code = (error.get("metadata") or {}).get("error_type") or "server_error"
        told = {"code": code, "message": error.get("message"), "param": error.get("param")}
        reason = {"code": code if code == "rate_limit_exceeded" else "server_error", "message": told["message"]}
        for item in self._items:
            if item.status == IN_PROGRESS:
                item.status = INCOMPLETE
        failed = self._told("failed", error=reason, output=[item.whole() for item in self._items])
        return [
            ("error", {**told, "error": {"type": error.get("type"), **told}}),
            ("response.failed", {"response": failed}),
        ]

    def _final(self) -> dict[str, Any]:
        reason = _WHY_INCOMPLETE.get(self._finish)
        output, usage = [item.whole() for item in self._items], _usage(self._usage)
        if reason is not None:
            return self._told(INCOMPLETE, incomplete_details={"reason": reason}, output=output, usage=usage)
        return self._told(COMPLETED, completed_at=int(self._unix()), output=output, usage=usage)

    def _end(self) -> dict[str, Any]:
        """The response as it ended well, kept before the client may refer to it."""
        response = self._final()
        if self._keep is not None:
            self._keep(response)
        return response

    def _told(self, status: str, **fields: Any) -> dict[str, Any]:
        """The response object as it stands."""
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
    """A whole choice as if it had come in one piece: in streams, calls are numbered."""
    message = choice.get("message") or {}
    calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls") or ())]
    return {"delta": {**message, "tool_calls": calls}, "finish_reason": choice.get("finish_reason")}


def _echo(body: Mapping[str, Any]) -> dict[str, orjson.Fragment]:
    """What comes back of the request, as JSON: written once, for up to three events."""
    told = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
    told["tools"] = [_tool(tool) for tool in body.get("tools") or ()]
    if body.get("user") is not None:
        told["user"] = body["user"]
    told["text"] = {"format": {"type": "text"}} | (body.get("text") or {})
    told["reasoning"] = {"effort": None, "summary": None} | (body.get("reasoning") or {})
    try:
        return {name: orjson.Fragment(orjson.dumps(value)) for name, value in told.items()}
    except orjson.JSONEncodeError:
        raise BadRequest(f"the body is nested deeper than {DEEPEST} levels") from None


def _tool(tool: Any) -> Any:
    return _FUNCTION | tool if isinstance(tool, dict) and tool.get("type") == "function" else tool


def _text(said: Mapping[str, Any], name: str) -> str:
    """A text that may be null or absent. Raises ValueError for anything else: most of it comes unread from the host."""
    value = said.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a text")
    return value


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Chat's `usage` by its names here, with the cost in dollars."""
    prompt, output = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    cached = {
        "cached_tokens": prompt.get("cached_tokens", 0),
        "cache_write_tokens": prompt.get("cache_write_tokens", 0),
    }
    told = {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": cached,
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": output.get("reasoning_tokens", 0)},
        "total_tokens": usage.get("total_tokens", 0),
    }
    if "cost" in usage:
        told["cost"] = usage["cost"]
    if costs := usage.get("cost_details"):
        told["cost_details"] = {_COSTS[name]: value for name, value in costs.items() if name in _COSTS}
    return told
