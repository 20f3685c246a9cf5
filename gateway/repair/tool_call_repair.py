"""Repairs the tool calls of one answer on their way to the client, streamed or whole.

    delta ── its texts ──> Leak ───────> text without markup       what is held is decided when the choice ends:
          ── its calls ──> StatedCall ──> arguments, sent once      a call not stated yet, markup of a stated one,
                                                                   missing brackets, or text after all

Only answers to requests with tools are followed. JSON content is healed in whole answers only, on the client's request.
Every repair is counted.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, get_args

import msgspec

from gateway.repair.json_repair import healed, healed_content
from gateway.repair.stated_call import StatedCall
from gateway.repair.tool_call_check import MOST_CALLS, offered_functions
from gateway.repair.tool_call_markup import Leak, MarkupCall
from gateway.route.filters import JSON_FORMATS
from gateway.types import REASONING_FIELDS, RepairKind
from gateway.types.finish_reason import canonical_reason

HEALING = "response-healing"  # OpenRouter's name for the plugin that heals JSON
_WHOLE_ENDS = frozenset({"stop", "tool_calls"})


class Repairs(msgspec.Struct, gc=False):
    """How often something was repaired in one answer, by kind."""

    call: int = 0  # calls that the host had left in the text as markup
    markup: int = 0  # markup removed because its call was stated too
    arguments: int = 0  # calls whose JSON was completed, or was sent twice
    content: int = 0  # JSON answers that were completed, or taken out of other text

    @property
    def kinds(self) -> tuple[RepairKind, ...]:
        """The kinds that occurred."""
        return tuple(kind for kind in get_args(RepairKind) if getattr(self, kind))


class ToolCallRepair:
    """Follows one normalised answer. `tools` are the names that may be called; the first `choices` (`n`) choices are
    followed."""

    __slots__ = ("_choices", "_heals", "_most", "_tools", "repairs")

    def __init__(self, tools: frozenset[str], choices: int = 1, heals_json: bool = False) -> None:
        self._tools = tools
        self._most = choices
        self._heals = heals_json
        self._choices: dict[int, _MendedChoice] = {}
        self.repairs = Repairs()

    @property
    def idle(self) -> bool:
        """Whether nothing is held, so that events without marks and calls may pass unread."""
        return not any(choice.holds for choice in self._choices.values())

    def chunk(self, payload: dict[str, Any]) -> None:
        """Repairs one chunk of a stream in place."""
        for choice in payload.get("choices") or ():
            followed = self._follow(choice)
            if followed is None:
                continue
            delta = choice.get("delta") or {}
            followed.take(delta)
            if choice.get("finish_reason"):
                followed.end(choice, delta)
            choice["delta"] = delta

    def whole(self, payload: dict[str, Any]) -> None:
        """Repairs a whole answer in place."""
        for choice in payload["choices"]:
            message = choice.get("message")
            if not message:
                continue
            finished = canonical_reason(choice.get("finish_reason")) in _WHOLE_ENDS
            followed = self._follow(choice)
            if followed is not None:
                for function in map(_function, _calls(message)):
                    self.repairs.arguments += _heal(function, "arguments", healed, finished)
                followed.take_whole_calls(message)
                followed.take_texts(message)
                followed.end(choice, message)
            if self._heals:
                self.repairs.content += _heal(message, "content", healed_content, finished)

    def _follow(self, choice: dict[str, Any]) -> "_MendedChoice | None":
        index = choice["index"]
        followed = self._choices.get(index)
        if followed is None and self._tools and len(self._choices) < self._most:
            followed = self._choices[index] = _MendedChoice(self._tools, self.repairs)
        return followed


def mender(body: Mapping[str, Any]) -> ToolCallRepair | None:
    """The mender for the answer to this request; None where there is nothing to repair."""
    calls = body.get("tools") and body.get("tool_choice") != "none"
    tools = frozenset(offered_functions(body["tools"])) if calls else frozenset()
    heals = "plugins" in body and _wants_json(body)
    return ToolCallRepair(tools, body.get("n") or 1, heals) if tools or heals else None


class _MendedChoice:
    """One choice of the answer."""

    __slots__ = ("_at", "_content", "_field", "_has_content", "_over", "_reasoning", "_repairs", "_stated")

    def __init__(self, tools: frozenset[str], repairs: Repairs) -> None:
        self._repairs = repairs
        self._content = Leak(tools)
        self._reasoning = Leak(tools)
        self._field = "reasoning_content"  # the field in which the host sends its reasoning
        self._has_content = False  # whether there was content
        self._stated: list[StatedCall] = []
        self._at: dict[int, StatedCall] = {}  # the last one at each index
        self._over = False

    @property
    def holds(self) -> bool:
        return self._content.holds or self._reasoning.holds

    def take_whole_calls(self, message: dict[str, Any]) -> None:
        """Takes the calls of a whole message."""
        for function in map(_function, _calls(message)[:MOST_CALLS]):
            self._stated.append(StatedCall.of(MarkupCall(str(function.get("name")), str(function.get("arguments")))))

    def take(self, delta: dict[str, Any]) -> None:
        """Repairs one delta in place."""
        if self._over:
            return
        self.take_texts(delta)
        for call in _calls(delta):
            self._take_call(call)

    def take_texts(self, delta: dict[str, Any]) -> None:
        """Repairs the texts of a delta, or of a message, in place."""
        self._take_reasoning(delta)
        if content := delta.get("content"):
            delta["content"] = free = self._content.feed(content)
            if free.strip():
                self._has_content = True
                self._add_reasoning(delta, self._reasoning.end().text)  # calls before content are text

    def end(self, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        """Decides what was held, and adds it to the last delta."""
        if self._over:
            return
        self._over = True
        clean = canonical_reason(choice["finish_reason"]) in _WHOLE_ENDS
        self._end_arguments(delta, clean)
        stated = len(self._stated)
        if text := self._settled(self._content, clean):
            delta["content"] = (delta.get("content") or "") + text
        self._add_reasoning(delta, self._settled(self._reasoning, clean, self._has_content))
        if len(self._stated) > stated:
            delta["tool_calls"] = [*_calls(delta), *map(StatedCall.delta, self._stated[stated:], count(stated))]
            choice["finish_reason"] = "tool_calls"

    def _take_reasoning(self, delta: dict[str, Any]) -> None:
        field = next((name for name in REASONING_FIELDS[:2] if delta.get(name)), None)
        if field is None or not isinstance(text := delta[field], str):
            return
        self._field = field
        free = self._reasoning.feed(text)
        if free == text:
            return
        for name in REASONING_FIELDS:  # the same text under its other names
            delta.pop(name, None)
        delta[field] = free

    def _add_reasoning(self, delta: dict[str, Any], text: str) -> None:
        if text:
            delta[self._field] = (delta.get(self._field) or "") + text

    def _settled(self, leak: Leak, clean: bool, reasoning_only: bool = False) -> str:
        """The held end of a text, where it is text; otherwise it becomes calls.

        A call in the reasoning before an answer with content does not count.
        """
        held = leak.end()
        if clean and held.calls and not reasoning_only:
            missing = [call for call in held.calls if not any(stated.is_same(call) for stated in self._stated)]
            self._stated += map(StatedCall.of, missing)
            self._repairs.call += len(missing)
            self._repairs.markup += len(missing) < len(held.calls)
            return ""
        if clean and held.markup and self._stated:
            self._repairs.markup += 1
            return ""
        return held.text

    def _take_call(self, call: dict[str, Any]) -> None:
        index, function = call["index"], call["function"]
        stated = self._at.get(index)
        if stated is None:
            if len(self._stated) == MOST_CALLS:
                return
            stated = self._at[index] = StatedCall(call["id"], function["name"])
            self._stated.append(stated)
        function["arguments"] = stated.take(function["arguments"])

    def _end_arguments(self, delta: dict[str, Any], clean: bool) -> None:
        rests = []
        for index, stated in self._at.items():
            rest, mended = stated.end(clean)
            self._repairs.arguments += mended
            if rest:
                rests.append({"index": index, "function": {"arguments": rest}})
        if rests:
            delta["tool_calls"] = [*_calls(delta), *rests]


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
    """Whether the client requested JSON, not streamed, and its repair."""
    plugins, wanted = body.get("plugins"), body.get("response_format")
    if body.get("stream") or not isinstance(plugins, list) or not isinstance(wanted, dict):
        return False
    requested = any(
        isinstance(one, dict) and one.get("id") == HEALING and one.get("enabled") is not False for one in plugins
    )
    return requested and wanted.get("type") in JSON_FORMATS
