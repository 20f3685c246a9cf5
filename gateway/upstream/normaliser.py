"""Normalises a host's JSON: everything else reads one clean form of chunks and answers.

    a host's chunk or whole answer ──> OpenAI's format for all fields that it defines, or a Failure

    not quite JSON                     parsed where it has only one possible meaning (`lenient_json`)
    no choices, an empty list          no choices: an event without content
    choices without an index, `delta: null`, `message` for `delta`, a finish reason that is "null"
    texts in parts, objects for text   text; parts with reasoning become reasoning
    tool calls in fragments            numbered, with one id each, named once (`call_fragments`)
    usage in a choice                  usage

Left unchanged: the names of reasoning fields and finish reasons, which each surface writes in its own way (`shape`),
and unknown fields.
"""

from collections.abc import Mapping
from types import NoneType
from typing import Any

import orjson

from gateway.repair.call_fragments import CallFragments
from gateway.repair.lenient_json import all_mended, checked, joined, loads, may_be_deep, mended, parse
from gateway.types import Failure, Fault
from gateway.types.finish_reason import is_end
from gateway.upstream.answer_types import PlainAnswer, plain_answer
from gateway.upstream.host_error import classify_in_band
from gateway.upstream.passthrough import PlainChoice, PlainFragment, plain_choice

CHUNK = "chat.completion.chunk"
COMPLETION = "chat.completion"
MOST_CHOICES = 1024  # of one answer; more are treated as an error

Json = dict[str, Any]

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
# `str | None` in a call would make a union each time.
_TEXT_OR_NULL = (str, NoneType)
_OBJECT_OR_NULL = (dict, NoneType)
_NONE: tuple[Any, ...] = (None, "", [], {})
_EXACT = 2**53  # below it a float has its integer part exactly
_REASONING_PARTS = frozenset({"thinking", "reasoning"})


class Normaliser:
    """Normalises one answer, whole or streamed. With `tools`, a legacy `function_call` becomes a tool call.

    `plain` is a whole answer that needed no change, None for any other; `idle` says whether no part of a character is
    held.
    """

    __slots__ = ("_choices", "_ids", "_tools", "idle", "plain")

    def __init__(self, tools: bool = False) -> None:
        self._tools = tools
        self._ids: set[str] = set()  # of tool calls
        self._choices: dict[int, _Choice] = {}
        self.idle = True
        self.plain: PlainAnswer | None = None

    def __repr__(self) -> str:
        return f"<Normaliser of {len(self._choices)} choices>"

    @property
    def mended(self) -> bool:
        """Whether arguments of a tool call were repaired."""
        return bool(self._choices) and any(choice.fragments.mended for choice in self._choices.values())

    def chunk(self, data: bytes) -> Json | Failure:
        """The chunk in one event's data. Each of its choices has an index, a delta, and null or a reason as
        `finish_reason`; an event with nothing but perhaps usage has no choices."""
        choice = plain_choice(data)
        state = None if choice is None else self._choices.get(choice.index)
        if choice is not None and state is not None and state.flows(choice) and not may_be_deep(data):
            try:
                plain: Json = orjson.loads(data)
            except orjson.JSONDecodeError:
                pass
            else:
                return (
                    plain if choice.delta.tool_calls is None else _with_call(plain, choice.delta.tool_calls[0], state)
                )
        return self._read(*loads(data), "delta", "an event of the host's stream", "a chunk's")

    def whole(self, data: bytes) -> Json | Failure:
        """A whole answer; each of its choices has a message."""
        payload, odd = parse(data)
        if not odd:
            self.plain = plain_answer(payload)
            if self.plain is not None:
                whole: Json = payload
                return whole
        return self._read(checked(payload, data), odd, "message", "the host's answer", "a completion's")

    def _read(self, payload: Json | None, odd: bool, part: str, what: str, whose: str) -> Json | Failure:
        if payload is None:
            return Failure(Fault.GARBAGE, f"{what} is not a JSON object")
        if failure := classify_in_band(all_mended(payload) if odd else payload):
            return failure
        if odd:
            payload = {
                mended(name): value if name == "choices" else all_mended(value) for name, value in payload.items()
            }
        choices: Any = payload.get("choices")
        if choices in _NONE:
            choices = []
        if not _are_objects(choices):
            return Failure(Fault.GARBAGE, f"{what} has choices that are not {whose}")
        _lift_usage(payload, choices)
        _name(payload)
        try:
            payload["choices"] = [self._choice(one, part, place, odd) for place, one in enumerate(choices)]
        except ValueError as error:
            return Failure(Fault.GARBAGE, f"{what} has {error}")
        payload["object"] = CHUNK if part == "delta" else COMPLETION
        return payload

    def _choice(self, choice: Json, part: str, place: int, odd: bool) -> Json:
        """Normalises one choice. Raises ValueError with the problem."""
        index = _index(choice.get("index"), place)
        state = self._choices.get(index)
        if state is None:
            if len(self._choices) == MOST_CHOICES:
                raise ValueError("too many choices")
            state = self._choices[index] = _Choice(self._ids)
        choice["index"] = index
        if not is_end(choice.setdefault("finish_reason", None)):
            choice["finish_reason"] = None
        choice[part] = message = state.message(choice, part)
        _flatten(message)
        if part == "message":
            message["role"] = message.get("role") or "assistant"
            message.setdefault("content", None)
        self._take_calls(state, message, part, choice["finish_reason"] is not None)
        if not isinstance(choice.get("logprobs"), _OBJECT_OR_NULL):
            del choice["logprobs"]
        if odd or state.partial:
            state.join(message, part == "message" or choice["finish_reason"] is not None)
            self.idle = not any(one.partial for one in self._choices.values())
        return choice if not odd else all_mended(choice)

    def _take_calls(self, state: "_Choice", message: Json, part: str, ended: bool) -> None:
        calls = message.get("tool_calls")
        if self._tools and not calls and isinstance(message.get("function_call"), dict):
            calls = [message.pop("function_call")]
        if isinstance(calls, dict):
            calls = [calls]
        out = []
        if isinstance(calls, list) and calls:
            out = state.fragments.take(calls) if part == "delta" else state.fragments.whole(calls)
        if ended and part == "delta":
            out += state.fragments.end()
        if out:
            message["tool_calls"] = out
        else:
            message.pop("tool_calls", None)


class _Choice:
    """The state of one choice between chunks."""

    __slots__ = ("content_field", "fragments", "partial")

    def __init__(self, ids: set[str]) -> None:
        self.fragments = CallFragments(ids)
        self.partial: dict[str, str] = {}  # parts of characters, by field
        self.content_field = ""  # the field with the host's content: delta or message

    def flows(self, choice: PlainChoice) -> bool:
        """Whether content comes in deltas, nothing is held, and the tool call of a fragment is sent as it comes."""
        fragments = choice.delta.tool_calls
        return (
            self.content_field == "delta"
            and not self.partial
            and (fragments is None or self.fragments.flows(fragments[0].index))
        )

    def message(self, choice: Json, part: str) -> Json:
        """Its delta or message. Hosts may send one for the other, and repeat everything in a `message` at the end."""
        empty: Json = {}
        for name in (part, "message" if part == "delta" else "delta"):
            message = choice.get(name) if name == part else choice.pop(name, None)
            if message in _NONE:
                continue
            if not isinstance(message, dict):
                raise ValueError(f"a `{name}` that is not an object")
            if self.content_field in ("", name) and _has_content(message):
                self.content_field = name
                return message
            empty = message if name == part else empty
        text = choice.pop("text", None)  # of a text completion
        return {**empty, "content": text} if isinstance(text, str) and not self.content_field else empty

    def join(self, message: Json, ended: bool) -> None:
        """Holds a part of a character until the rest arrives, or the end."""
        for name in _TEXTS:
            text, held = message.get(name), self.partial.pop(name, "")
            if not (text or held) or not isinstance(text, _TEXT_OR_NULL):
                continue
            text, held = joined(text or "", held)
            if held and ended:
                text += mended(held)
            elif held:
                self.partial[name] = held
            message[name] = text


def _with_call(payload: Json, fragment: PlainFragment, state: _Choice) -> Json:
    """A plain chunk, with the client's form of its tool call fragment."""
    delta = payload["choices"][0]["delta"]
    if out := state.fragments.more(fragment.index, fragment.function.arguments):
        delta["tool_calls"] = out
    else:
        del delta["tool_calls"]
    return payload


def as_text(value: Any) -> str:
    """Text, from a string, from parts, or from another value as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(as_text, value))
    if isinstance(value, dict):
        return next((as_text(value[name]) for name in ("text", "content") if name in value), "")
    return "" if value is None else orjson.dumps(value).decode()


def _flatten(message: Json) -> None:
    """Makes the texts of a delta or message strings, in place, and drops unreadable fields."""
    if not isinstance(message.get("role"), _TEXT_OR_NULL):
        del message["role"]
    details = message.get("reasoning_details")
    if details and not _are_objects(details):
        del message["reasoning_details"]
    for name in _TEXTS:
        value = message.get(name)
        if value is None or type(value) is str:
            continue
        if name == "content" and isinstance(value, list):
            _divide(message, value)
        elif name == "content" and isinstance(value, dict) and not {"text", "content"} & value.keys():
            message[name] = orjson.dumps(all_mended(value)).decode()  # JSON was requested, and sent as an object
        else:
            message[name] = as_text(value)


def _divide(message: Json, parts: list[Any]) -> None:
    """Moves parts of content to their fields: text, reasoning and refusals; other parts count as text."""
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else "text"
        if kind in _REASONING_PARTS:
            texts["reasoning_content"].append(as_text(part.get(kind, part)))
        elif kind == "refusal":
            texts["refusal"].append(as_text(part.get("refusal", part)))
        else:
            texts["content"].append(as_text(part))
    message["content"] = "".join(texts.pop("content"))
    for name, found in texts.items():
        if found:
            message[name] = as_text(message.get(name)) + "".join(found)


def _are_objects(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, dict) for value in values)


def _name(payload: Json) -> None:
    """Makes names strings, and the time an integer, where present."""
    for name in ("id", "model"):
        if name in payload and type(payload[name]) is not str:
            value = payload.pop(name)
            if type(value) is int:
                payload[name] = str(value)
    created = payload.get("created", 0)
    if type(created) is not int:
        payload["created"] = int(created) if isinstance(created, float) and abs(created) < _EXACT else 0


def _index(value: Any, place: int) -> int:
    if value is None:
        return place
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    if type(value) is not int or value < 0:
        raise ValueError("a choice whose index is not a number")
    return value


def _lift_usage(payload: Json, choices: list[Json]) -> None:
    """Moves usage from a choice, or from a host's own field, to its place."""
    found = [choice.pop("usage", None) for choice in choices]
    if isinstance(payload.get("usage"), dict):
        return
    found.append(own.get("usage") if isinstance(own := payload.get("x_groq"), dict) else None)
    counted = next((usage for usage in found if isinstance(usage, Mapping)), None)
    if counted is not None:
        payload["usage"] = counted


def _has_content(message: Json) -> bool:
    return any(message.get(name) for name in (*_TEXTS, "tool_calls", "function_call"))
