"""Whether an answer's tool calls are usable: functions that the request offered, arguments that fit them.

    deltas or message ──> ToolCallCheck ──verdict(the request's tools)──> ok | unknown_name | not_json | misfit

The check is cheap: a JSON object with the required keys, its values of the declared types, at the top level only.
Memory is bounded; an answer with more calls gets no verdict.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.types import ToolResult

MOST_CALLS = 256  # followed per answer
MOST_TEXT = 1024 * 1024  # characters of arguments

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class _CheckedCall:
    """One call while its fragments arrive."""

    __slots__ = ("name", "parts")

    def __init__(self) -> None:
        self.name = ""
        self.parts: list[str] = []


class ToolCallCheck:
    """The calls of one answer, whole or in fragments."""

    __slots__ = ("_calls", "_room")

    def __init__(self) -> None:
        self._calls: dict[tuple[int, int], _CheckedCall] = {}  # by choice and place
        self._room = MOST_TEXT

    def take(self, payload: Mapping[str, Any], part: str) -> None:
        """Takes the calls of one chunk (`part` is `delta`) or whole answer (`message`)."""
        choices = payload.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            message = choice.get(part) if isinstance(choice, dict) else None
            calls = message.get("tool_calls") if isinstance(message, dict) else None
            for place, call in enumerate(calls if isinstance(calls, list) else ()):
                if isinstance(call, dict):
                    self._piece(choice.get("index", 0), call.get("index", place), call.get("function"))

    def verdict(self, tools: object) -> ToolResult:
        """The worst result of the calls; empty where there is no verdict."""
        offered = offered_functions(tools)
        if not self._calls or not offered or self._room < 0 or len(self._calls) > MOST_CALLS:
            return ""
        results = [_verdict(call, offered) for call in self._calls.values()]
        return next((one for one in ("unknown_name", "not_json", "misfit") if one in results), "ok")

    def _piece(self, choice: object, place: object, function: object) -> None:
        if not (isinstance(choice, int) and isinstance(place, int) and isinstance(function, dict)):
            return
        if self._room < 0 or len(self._calls) > MOST_CALLS:
            return
        call = self._calls.setdefault((choice, place), _CheckedCall())
        name, text = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name:
            call.name = name
        if isinstance(text, str):
            self._room -= len(text)
            call.parts.append(text)

    def __repr__(self) -> str:
        return f"<ToolCalls {len(self._calls)}>"


def offered_functions(tools: object) -> dict[str, Any]:
    """The functions of a request's `tools`, which may be any value: name -> parameters."""
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    named = (one for one in functions if isinstance(one, dict) and isinstance(one.get("name"), str))
    return {one["name"]: one.get("parameters") for one in named}


def _verdict(call: _CheckedCall, offered: Mapping[str, Any]) -> ToolResult:
    if call.name not in offered:
        return "unknown_name"
    try:
        arguments = orjson.loads("".join(call.parts) or "{}")
    except orjson.JSONDecodeError:
        return "not_json"
    if not isinstance(arguments, dict):
        return "not_json"
    return "ok" if _fits(arguments, offered[call.name]) else "misfit"


def _fits(arguments: Mapping[str, Any], schema: object) -> bool:
    if not isinstance(schema, dict):
        return True
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list) and any(name not in arguments for name in required if isinstance(name, str)):
        return False
    if not isinstance(properties, dict):
        return True
    return all(_is_of_type(value, properties.get(name)) for name, value in arguments.items())


def _is_of_type(value: object, schema: object) -> bool:
    """By the simple forms of `type` only; other schemas always match."""
    kinds = schema.get("type") if isinstance(schema, dict) else None
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if not names or any(name not in _TYPES for name in names if isinstance(name, str)):
        return True
    return any(_is_a(value, name) for name in names if isinstance(name, str))


def _is_a(value: object, kind: str) -> bool:
    if isinstance(value, bool):  # bool is an int in Python, but not in JSON
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])
