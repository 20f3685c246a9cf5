"""One clean answer from any host: what stands between a host's JSON and everything that reads it.

    a host's chunk or whole answer ──> OpenAI's, as far as its fields go, or a Failure

    not quite JSON                     read where it can mean one thing only (`lenient`)
    no choices, an empty list          no choices: a sign of life
    choices without an index, `delta: null`, `message` for `delta`, a finish reason that is "null"
    texts in parts, objects for text   text; parts that are thoughts become reasoning
    tool calls in pieces of any kind   numbered, with one id each, named once (`pieces`)
    usage in a choice                  usage

What is left as it is: names of reasoning fields and finish reasons, which each surface writes in its own way (`shape`),
and fields that are nobody's.
"""

from collections.abc import Mapping
from types import NoneType
from typing import Any

import orjson

from gateway.repair.call_fragments import CallFragments
from gateway.repair.lenient_json import all_mended, checked, joined, loads, may_be_deep, mended, parse
from gateway.types import Failure, Fault
from gateway.types.finish_reason import is_end
from gateway.upstream.answer_types import is_plain
from gateway.upstream.host_error import classify_in_band
from gateway.upstream.passthrough import PlainChoice, PlainFragment, plain_choice

CHUNK = "chat.completion.chunk"
COMPLETION = "chat.completion"
MOST_CHOICES = 1024  # of one answer; a host that numbers more is not understood

Json = dict[str, Any]

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
# `str | None` in a call would make a union each time.
_TEXT_OR_NULL = (str, NoneType)
_OBJECT_OR_NULL = (dict, NoneType)
_NONE: tuple[Any, ...] = (None, "", [], {})
_THOUGHTS = frozenset({"thinking", "reasoning"})


class Normaliser:
    """Reads one answer, whole or streamed. With `tools`, a legacy `function_call` becomes a tool call."""

    __slots__ = ("_choices", "_ids", "_tools", "idle")

    def __init__(self, tools: bool = False) -> None:
        self._tools = tools
        self._ids: set[str] = set()  # of tool calls
        self._choices: dict[int, _Choice] = {}
        self.idle = True  # whether no half of a character waits for the other

    def __repr__(self) -> str:
        return f"<Normaliser of {len(self._choices)} choices>"

    @property
    def mended(self) -> bool:
        """Whether arguments of a tool call were."""
        return bool(self._choices) and any(choice.pieces.mended for choice in self._choices.values())

    def chunk(self, data: bytes) -> Json | Failure:
        """The chunk in one event's data. Each of its choices has an index, a delta, and null or an end as
        `finish_reason`; there are none where the event brings nothing but perhaps usage."""
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
        if not odd and type(payload) is dict and is_plain(payload):
            return payload
        return self._read(checked(payload, data), odd, "message", "the host's answer", "a completion's")

    def _read(self, payload: Json | None, odd: bool, part: str, what: str, whose: str) -> Json | Failure:
        if payload is None:
            return Failure(Fault.GARBAGE, f"{what} is not a JSON object")
        if failure := classify_in_band(all_mended(payload) if odd else payload):
            return failure
        if odd:
            payload = {name: value if name == "choices" else all_mended(value) for name, value in payload.items()}
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
        """Raises ValueError, saying what it has that cannot be read."""
        index = _index(choice.get("index"), place)
        state = self._choices.get(index)
        if state is None:
            if len(self._choices) == MOST_CHOICES:
                raise ValueError("too many choices")
            state = self._choices[index] = _Choice(self._ids)
        choice["index"] = index
        if not is_end(choice.setdefault("finish_reason", None)):
            choice["finish_reason"] = None
        choice[part] = said = state.said(choice, part)
        _flatten(said)
        if part == "message":
            said["role"] = said.get("role") or "assistant"
            said.setdefault("content", None)
        self._take_calls(state, said, part, choice["finish_reason"] is not None)
        if not isinstance(choice.get("logprobs"), _OBJECT_OR_NULL):
            del choice["logprobs"]
        if odd or state.halves:
            state.join(said, part == "message" or choice["finish_reason"] is not None)
            self.idle = not any(one.halves for one in self._choices.values())
        return choice if not odd else {name: all_mended(value) for name, value in choice.items()}

    def _take_calls(self, state: "_Choice", said: Json, part: str, ended: bool) -> None:
        calls = said.get("tool_calls")
        if self._tools and not calls and isinstance(said.get("function_call"), dict):
            calls = [said.pop("function_call")]
        if isinstance(calls, dict):
            calls = [calls]
        told = []
        if isinstance(calls, list) and calls:
            told = state.pieces.take(calls) if part == "delta" else state.pieces.whole(calls)
        if ended and part == "delta":
            told += state.pieces.end()
        if told:
            said["tool_calls"] = told
        else:
            said.pop("tool_calls", None)


class _Choice:
    """What must be known of one choice from one chunk to the next."""

    __slots__ = ("halves", "pieces", "speaks")

    def __init__(self, ids: set[str]) -> None:
        self.pieces = CallFragments(ids)
        self.halves: dict[str, str] = {}  # of characters, by field
        self.speaks = ""  # the field in which the host says what it says

    def flows(self, choice: PlainChoice) -> bool:
        """Whether it is known to speak in deltas, holds back nothing, and has begun the call of a piece."""
        pieces = choice.delta.tool_calls
        return self.speaks == "delta" and not self.halves and (pieces is None or self.pieces.knows(pieces[0].index))

    def said(self, choice: Json, part: str) -> Json:
        """Its delta or message. Hosts may write one for the other, and repeat all in a `message` at the end."""
        quiet: Json = {}
        for name in (part, "message" if part == "delta" else "delta"):
            said = choice.get(name) if name == part else choice.pop(name, None)
            if said in _NONE:
                continue
            if not isinstance(said, dict):
                raise ValueError(f"a `{name}` that is no object")
            if self.speaks in ("", name) and _says(said):
                self.speaks = name
                return said
            quiet = said if name == part else quiet
        text = choice.pop("text", None)  # of a text completion
        return {**quiet, "content": text} if isinstance(text, str) and not self.speaks else quiet

    def join(self, said: Json, ended: bool) -> None:
        """Halves of characters are held until the other half comes, or the end."""
        for name in _TEXTS:
            text, held = said.get(name), self.halves.pop(name, "")
            if not (text or held) or not isinstance(text, _TEXT_OR_NULL):
                continue
            text, held = joined(text or "", held)
            if held and ended:
                text += mended(held)
            elif held:
                self.halves[name] = held
            said[name] = text


def _with_call(payload: Json, piece: PlainFragment, state: _Choice) -> Json:
    """A plain chunk, with its piece of a tool call as the client gets it."""
    delta = payload["choices"][0]["delta"]
    if told := state.pieces.more(piece.index, piece.function.arguments):
        delta["tool_calls"] = told
    else:
        del delta["tool_calls"]
    return payload


def as_text(value: Any) -> str:
    """A text that may come in parts, or as what it would say."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(as_text, value))
    if isinstance(value, dict):
        return next((as_text(value[name]) for name in ("text", "content") if name in value), "")
    return "" if value is None else orjson.dumps(value).decode()


def _flatten(said: Json) -> None:
    """The texts of a delta or message as text, in place, without what nobody could read."""
    if not isinstance(said.get("role"), _TEXT_OR_NULL):
        del said["role"]
    details = said.get("reasoning_details")
    if details and not _are_objects(details):
        del said["reasoning_details"]
    for name in _TEXTS:
        value = said.get(name)
        if value is None or type(value) is str:
            continue
        if name == "content" and isinstance(value, list):
            _divide(said, value)
        elif name == "content" and isinstance(value, dict) and not {"text", "content"} & value.keys():
            said[name] = orjson.dumps(all_mended(value)).decode()  # JSON was asked for, and not written as text
        else:
            said[name] = as_text(value)


def _divide(said: Json, parts: list[Any]) -> None:
    """Parts of content: text, thoughts and refusals, each to its field; others are not the clients'."""
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else "text"
        if kind in _THOUGHTS:
            texts["reasoning_content"].append(as_text(part.get(kind, part)))
        elif kind == "refusal":
            texts["refusal"].append(as_text(part.get("refusal", part)))
        else:
            texts["content"].append(as_text(part))
    said["content"] = "".join(texts.pop("content"))
    for name, found in texts.items():
        if found:
            said[name] = as_text(said.get(name)) + "".join(found)


def _are_objects(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, dict) for value in values)


def _name(payload: Json) -> None:
    """Its names as text and its time as a whole number, where it has them."""
    for name in ("id", "model"):
        if name in payload and type(payload[name]) is not str:
            value = payload.pop(name)
            if type(value) is int:
                payload[name] = str(value)
    created = payload.get("created", 0)
    if type(created) is not int:
        payload["created"] = int(created) if isinstance(created, float) else 0


def _index(value: Any, place: int) -> int:
    if value is None:
        return place
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    if type(value) is not int or value < 0:
        raise ValueError("a choice whose index is no number")
    return value


def _lift_usage(payload: Json, choices: list[Json]) -> None:
    """Usage that stands in a choice, or with a host's own fields, to where it belongs."""
    found = [choice.pop("usage", None) for choice in choices]
    if isinstance(payload.get("usage"), dict):
        return
    found.append(own.get("usage") if isinstance(own := payload.get("x_groq"), dict) else None)
    counted = next((usage for usage in found if isinstance(usage, Mapping)), None)
    if counted is not None:
        payload["usage"] = counted


def _says(said: Json) -> bool:
    return any(said.get(name) for name in (*_TEXTS, "tool_calls", "function_call"))
