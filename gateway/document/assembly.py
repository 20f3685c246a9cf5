"""Assembles a chat completion from the chunks of its stream.

Text and lists in deltas are concatenated; tool calls and reasoning details are merged by their `index`; of every other
field the last value that is not null counts. Text is collected in a StringIO, because each concatenation of strings
copies them.
"""

from collections.abc import Iterable
from io import StringIO
from typing import Any

MOST_PARALLEL = 16  # reasoning details that a host may write in parallel
UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # raised for chunks of another shape

Json = dict[str, Any]


class Assembly:
    """The chunks of one answer so far."""

    __slots__ = ("_choices", "_head")

    def __init__(self) -> None:
        self._head: Json = {"object": "chat.completion", "system_fingerprint": None}
        self._choices: dict[int, Json] = {}

    def __repr__(self) -> str:
        return f"<Assembly of {len(self._choices)} choices>"

    def take(self, chunk: Json) -> None:
        """Adds a chunk. Raises one of `UNREADABLE` for a chunk of another shape."""
        for choice in chunk.get("choices") or ():
            _add_choice(self._choices, choice)
        copy_fields(self._head, chunk, but=("choices", "object"))

    def completion(self) -> Json:
        """The completion so far: choices by their index, empty where no chunk had any."""
        whole = [_finished(choice) for _, choice in sorted(self._choices.items())]
        for choice in whole:
            choice["message"].setdefault("content", None)  # clients expect the key also with tool calls
        return self._head | {"choices": whole}


def copy_fields(into: Json, found: Json, but: Iterable[str]) -> None:
    """Copies all fields that are not null, and not named in `but`."""
    into.update({name: value for name, value in found.items() if value is not None and name not in but})


def _finished(value: Any) -> Any:
    if isinstance(value, StringIO):
        return value.getvalue()
    if isinstance(value, dict):
        return {name: _finished(part) for name, part in value.items()}
    return [_finished(part) for part in value] if isinstance(value, list) else value


def _add(into: Json, name: str, value: Any) -> None:
    """Concatenates text and lists; of anything else the last value that is not null counts."""
    if isinstance(value, str):
        into.setdefault(name, StringIO()).write(value)
    elif isinstance(value, list):
        into.setdefault(name, []).extend(value)
    elif value is not None:
        into[name] = value


def _add_choice(choices: dict[int, Json], found: Json) -> None:
    index = found["index"]
    if index not in choices:
        choices[index] = {"index": index, "message": {"role": "assistant"}, "finish_reason": None}
    choice = choices[index]
    copy_fields(choice, found, but=("index", "delta", "logprobs"))
    _add_delta(choice["message"], found.get("delta") or {})
    for name, tokens in (found.get("logprobs") or {}).items():
        _add(choice.setdefault("logprobs", {}), name, tokens)


def _add_delta(message: Json, delta: Json) -> None:
    for name, value in delta.items():
        if name == "role":
            message["role"] = value or message["role"]
        elif name == "tool_calls":
            for call in value or ():
                _add_call(message.setdefault("tool_calls", []), call)
        elif name == "reasoning_details":
            for detail in value or ():
                _add_detail(message.setdefault("reasoning_details", []), detail)
        else:
            _add(message, name, value)


def _add_call(calls: list[Json], found: Json) -> None:
    """Only the arguments arrive in fragments; hosts may repeat other fields, or leave them empty, after the first
    one."""
    index = found["index"]
    if index == len(calls):
        calls.append({"id": None, "type": "function", "function": {"name": None, "arguments": StringIO()}})
    call, function = calls[index], found.get("function") or {}
    for name, value in found.items():
        if name not in ("index", "function"):
            call[name] = call.get(name) or value
    call["function"]["name"] = call["function"]["name"] or function.get("name")
    call["function"]["arguments"].write(function.get("arguments") or "")


def _add_detail(details: list[Json], found: Json) -> None:
    near = details[-MOST_PARALLEL:] if "index" in found else ()
    detail = next((one for one in near if one.get("index") == found["index"]), None)
    if detail is None:
        detail = {}
        details.append(detail)
    copy_fields(detail, found, but=("text", "summary"))
    for name in ("text", "summary"):
        _add(detail, name, found.get(name))
