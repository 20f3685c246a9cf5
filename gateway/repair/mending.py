"""Mends the tool calls of one answer on their way to the client, streamed or whole.

    delta ──its texts──> Leak ────> text without markup        what is held back is decided where the choice ends:
          ──its calls──> Stated ──> arguments, said once       a call that is not there yet, markup of one that is,
                                                               brackets that are missing, or text after all

Only the answer to a request with tools is followed, and JSON is healed in whole answers only, where the client asked
for it. Whatever is changed is counted.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, get_args

import msgspec

from gateway.repair.dsml import Leak, MarkupCall
from gateway.repair.healing import healed, healed_content
from gateway.repair.stated import Stated
from gateway.repair.toolcalls import MOST_CALLS, offered_functions
from gateway.route.filters import JSON_FORMATS
from gateway.types import REASONING_FIELDS, RepairKind
from gateway.types.finish_reason import finish

HEALING = "response-healing"  # OpenRouter's name for the plugin that heals JSON
_WHOLE_ENDS = frozenset({"stop", "tool_calls"})


class Repairs(msgspec.Struct, gc=False):
    """How often something was mended in one answer, by kind."""

    call: int = 0  # calls that the host had left in the text as markup
    markup: int = 0  # markup removed beside the call that it was
    arguments: int = 0  # calls whose JSON was completed, or said twice
    content: int = 0  # answers in JSON taken out of what was around it, or completed

    @property
    def kinds(self) -> tuple[RepairKind, ...]:
        """What was mended at all."""
        return tuple(kind for kind in get_args(RepairKind) if getattr(self, kind))


class Mender:
    """Follows one normalised answer. `tools` are the names that may be called; of `choices` (`n`) so many count."""

    __slots__ = ("_choices", "_heals", "_most", "_tools", "repairs")

    def __init__(self, tools: frozenset[str], choices: int = 1, heals_json: bool = False) -> None:
        self._tools = tools
        self._most = choices
        self._heals = heals_json
        self._choices: dict[int, _MendedChoice] = {}
        self.repairs = Repairs()

    @property
    def idle(self) -> bool:
        """Whether nothing is held back, so that events that hold no mark and no call may pass unread."""
        return not any(choice.holds for choice in self._choices.values())

    def chunk(self, payload: dict[str, Any]) -> bool:
        """Mends one chunk of a stream in place; whether anything in it was changed."""
        changed = False
        for choice in payload.get("choices") or ():
            followed = self._followed(choice)
            if followed is None:
                continue
            delta = choice.get("delta") or {}
            changed |= followed.take(delta)
            if choice.get("finish_reason"):
                changed |= followed.end(choice, delta)
            choice["delta"] = delta
        return changed

    def whole(self, payload: dict[str, Any]) -> None:
        """Mends a whole answer in place."""
        for choice in payload["choices"]:
            message = choice.get("message")
            if not message:
                continue
            finished = finish(choice.get("finish_reason")) in _WHOLE_ENDS
            followed = self._followed(choice)
            if followed is not None:
                for function in map(_function, _calls(message)):
                    self.repairs.arguments += _heal(function, "arguments", healed, finished)
                followed.state(message)
                followed.take_texts(message)
                followed.end(choice, message)
            if self._heals:
                self.repairs.content += _heal(message, "content", healed_content, finished)

    def _followed(self, choice: dict[str, Any]) -> "_MendedChoice | None":
        index = choice["index"]
        followed = self._choices.get(index)
        if followed is None and self._tools and len(self._choices) < self._most:
            followed = self._choices[index] = _MendedChoice(self._tools, self.repairs)
        return followed


def mender(body: Mapping[str, Any]) -> Mender | None:
    """The mender for the answer to this request; None where there is nothing to mend."""
    calls = body.get("tools") and body.get("tool_choice") != "none"
    tools = frozenset(offered_functions(body["tools"])) if calls else frozenset()
    heals = "plugins" in body and _wants_json(body)
    return Mender(tools, body.get("n") or 1, heals) if tools or heals else None


class _MendedChoice:
    """One choice of the answer."""

    __slots__ = ("_at", "_content", "_field", "_over", "_reasoning", "_repairs", "_said", "_stated")

    def __init__(self, tools: frozenset[str], repairs: Repairs) -> None:
        self._repairs = repairs
        self._content = Leak(tools)
        self._reasoning = Leak(tools)
        self._field = "reasoning_content"  # in which the host writes its reasoning
        self._said = False  # whether there was content
        self._stated: list[Stated] = []
        self._at: dict[int, Stated] = {}  # the last one at each index
        self._over = False

    @property
    def holds(self) -> bool:
        return self._content.holds or self._reasoning.holds

    def state(self, message: dict[str, Any]) -> None:
        """The calls of a whole message."""
        for function in map(_function, _calls(message)[:MOST_CALLS]):
            self._stated.append(Stated.of(MarkupCall(str(function.get("name")), str(function.get("arguments")))))

    def take(self, delta: dict[str, Any]) -> bool:
        """Mends one delta in place; whether anything was changed."""
        if self._over:
            return False
        changed = self.take_texts(delta)
        for call in _calls(delta):
            changed |= self._take_call(call)
        return changed

    def take_texts(self, delta: dict[str, Any]) -> bool:
        """Mends the texts of a delta, or of a message, in place; whether anything was changed."""
        changed = self._take_reasoning(delta)
        if content := delta.get("content"):
            delta["content"] = free = self._content.feed(content)
            changed |= free != content
            if free.strip():
                self._said = True
                changed |= self._reasoning.holds
                self._think(delta, self._reasoning.end().text)  # what it thought of, it then did not do
        return changed

    def end(self, choice: dict[str, Any], delta: dict[str, Any]) -> bool:
        """Decides on what was held back, and puts it into the last delta; whether anything was changed."""
        if self._over:
            return False
        self._over = True
        clean = finish(choice["finish_reason"]) in _WHOLE_ENDS
        changed = self._end_arguments(delta, clean)
        changed |= self.holds
        stated = len(self._stated)
        if text := self._settled(self._content, clean):
            delta["content"] = (delta.get("content") or "") + text
        self._think(delta, self._settled(self._reasoning, clean, self._said))
        if len(self._stated) > stated:
            delta["tool_calls"] = [*_calls(delta), *map(Stated.delta, self._stated[stated:], count(stated))]
            choice["finish_reason"] = "tool_calls"
        return changed

    def _take_reasoning(self, delta: dict[str, Any]) -> bool:
        field = next((name for name in REASONING_FIELDS[:2] if delta.get(name)), None)
        if field is None or not isinstance(text := delta[field], str):
            return False
        self._field = field
        free = self._reasoning.feed(text)
        if free == text:
            return False
        for name in REASONING_FIELDS:  # the same text under its other names
            delta.pop(name, None)
        delta[field] = free
        return True

    def _think(self, delta: dict[str, Any], text: str) -> None:
        if text:
            delta[self._field] = (delta.get(self._field) or "") + text

    def _settled(self, leak: Leak, clean: bool, was_thought: bool = False) -> str:
        """What was held of a text that is over, where it is text; else it is among the calls.

        A call that was only thought of, before an answer in words, is none.
        """
        held = leak.end()
        if clean and held.calls and not was_thought:
            missing = [call for call in held.calls if not any(stated.is_same(call) for stated in self._stated)]
            self._stated += map(Stated.of, missing)
            self._repairs.call += len(missing)
            self._repairs.markup += len(missing) < len(held.calls)
            return ""
        if clean and held.markup and self._stated:
            self._repairs.markup += 1
            return ""
        return held.text

    def _take_call(self, call: dict[str, Any]) -> bool:
        index, function = call["index"], call["function"]
        stated = self._at.get(index)
        if stated is None:
            if len(self._stated) == MOST_CALLS:
                return False
            stated = self._at[index] = Stated(call["id"], function["name"])
            self._stated.append(stated)
        piece = function["arguments"]
        function["arguments"] = taken = stated.take(piece)
        return bool(taken != piece)

    def _end_arguments(self, delta: dict[str, Any], clean: bool) -> bool:
        rests = []
        changed = False
        for index, stated in self._at.items():
            rest, mended = stated.end(clean)
            self._repairs.arguments += mended
            changed |= mended
            if rest:
                rests.append({"index": index, "function": {"arguments": rest}})
        if rests:
            delta["tool_calls"] = [*_calls(delta), *rests]
        return changed or bool(rests)


def _calls(delta: dict[str, Any]) -> list[dict[str, Any]]:
    calls = delta.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _function(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _heal(fields: dict[str, Any], name: str, heal: Callable[[str, bool], str | None], finished: bool) -> bool:
    text = fields.get(name)
    mended = heal(text, finished) if isinstance(text, str) else None
    if mended is not None:
        fields[name] = mended
    return mended is not None


def _wants_json(body: Mapping[str, Any]) -> bool:
    """Whether the client asked for JSON, not streamed, and for it to be healed."""
    plugins, wanted = body.get("plugins"), body.get("response_format")
    if body.get("stream") or not isinstance(plugins, list) or not isinstance(wanted, dict):
        return False
    asked = any(
        isinstance(one, dict) and one.get("id") == HEALING and one.get("enabled") is not False for one in plugins
    )
    return asked and wanted.get("type") in JSON_FORMATS
