"""The tools of a Responses request as functions of a chat completion, and back.

    function ───────────────────────> a function                                   called: function_call
    custom ─────────────────────────> a function with one text, `input`            called: custom_tool_call
    namespace, with tools inside ───> functions named NAMESPACE__NAME              called: with `namespace` and `name`
    additional_tools, an input item ─> likewise
    web_search, mcp, ..., unknown ──> left out: a client that sends them always could not be used at all

What a model calls is told by the names that the client knows; `Tools.told` has them by the names in chat.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from gateway.errors import BadRequest

Json = dict[str, Any]

LONGEST_NAME = 64  # characters of a function's name in chat completions
INPUT = "input"  # the one argument of a custom tool
_OF_A_FUNCTION = ("name", "description", "parameters", "strict")
_CHOICES = frozenset({"none", "auto", "required"})
_OURS = frozenset({"function", "custom"})
_WANTED = (
    '"none", "auto", "required", {"type": "function", "name": "..."}, {"type": "custom", "name": "..."} or'
    ' {"type": "allowed_tools", "mode": "auto", "tools": [...]}'
)


class Told(NamedTuple):
    """How the client is told of a call: by the name that it gave the tool, and where."""

    name: str
    namespace: str | None = None
    custom: bool = False


class Tools(NamedTuple):
    """`fields` of the chat completion; `told` by the name of a function in chat."""

    fields: Json
    told: Mapping[str, Told]

    def called(self, name: str) -> Told:
        """What a call of this name means. A model may leave a namespace out where that is clear."""
        if (known := self.told.get(name)) is not None:
            return known
        alike = [one for one in self.told.values() if one.name == name]
        return alike[0] if len(alike) == 1 else Told(name)


NO_TOOLS = Tools({}, {})


def read_tools(body: Mapping[str, Any]) -> Tools:
    """Raises BadRequest. Without any tool that can be called, nothing else is said about tools: hosts refuse it."""
    choice = body.get("tool_choice")
    functions: dict[str, Json] = {}
    told: dict[str, Told] = {}
    for function, known in _functions(body):
        functions[function["name"]], told[function["name"]] = function, known
    allowed, choice = _chosen(choice, told, bool(body.get("tools")))
    if allowed is not None:
        functions = {name: function for name, function in functions.items() if name in allowed}
    if not functions:
        return Tools({}, told) if told else NO_TOOLS
    fields: Json = {"tools": [{"type": "function", "function": function} for function in functions.values()]}
    if choice is not None:
        fields["tool_choice"] = choice
    if body.get("parallel_tool_calls") is not None:
        fields["parallel_tool_calls"] = body["parallel_tool_calls"]
    return Tools(fields, told)


def chat_name(name: str, namespace: str | None) -> str:
    """The name of a tool among the functions of a chat completion: the same in every turn, whatever else is there."""
    if not namespace:
        return name
    whole = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", whole)
    if plain == whole and len(whole) <= LONGEST_NAME:
        return whole
    mark = sha256(whole.encode(errors="replace")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}_{mark}"


def _functions(body: Mapping[str, Any]) -> Iterator[tuple[Json, Told]]:
    yield from _of(body.get("tools"), "tools", None)
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") in ("additional_tools", "tool_search_output"):
            yield from _of(item.get("tools"), f"input[{index}].tools", None)


def _of(tools: Any, where: str, namespace: str | None) -> Iterator[tuple[Json, Told]]:
    if tools and not isinstance(tools, list):
        raise BadRequest(f"`{where}` must be a list of tools", param=where)
    for index, tool in enumerate(tools or ()):
        place = f"{where}[{index}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            raise BadRequest(f"`{place}` must be an object with a `type`; functions of your own are tools", param=place)
        if kind in _OURS:
            yield _function(tool, _name(tool, place), namespace)
        elif kind == "namespace" and namespace is None:
            yield from _inside(tool, place)


def _inside(tool: Json, where: str) -> Iterator[tuple[Json, Told]]:
    """The tools of a namespace. What that says about itself stands before the first of them."""
    about = tool.get("description")
    for function, told in _of(tool.get("tools"), f"{where}.tools", _name(tool, where)):
        if isinstance(about, str) and about:
            function["description"] = "\n\n".join(filter(None, (about, function.get("description"))))
            about = None
        yield function, told


def _function(tool: Json, name: str, namespace: str | None) -> tuple[Json, Told]:
    custom = tool["type"] == "custom"
    function = (
        _with_one_text(tool) if custom else {key: tool[key] for key in _OF_A_FUNCTION if tool.get(key) is not None}
    )
    function["name"] = chat_name(name, namespace)
    return function, Told(name, namespace, custom)


def _with_one_text(tool: Json) -> Json:
    """A tool that takes any text. Hosts hold no answer to a grammar, so that the model is shown it."""
    form = tool.get("format") or {}
    grammar = form.get("definition") if isinstance(form, dict) else None
    about = tool.get("description")
    if isinstance(grammar, str):
        shown = f"`{INPUT}` must follow this {form.get('syntax') or ''} grammar:\n{grammar}"
        about = f"{about}\n\n{shown}" if about else shown
    text = {"type": "string", "description": "the whole input of the tool, as it is"}
    schema = {"type": "object", "properties": {INPUT: text}, "required": [INPUT], "additionalProperties": False}
    return {"name": "", **({"description": about} if about else {}), "parameters": schema}


def _name(tool: Json, where: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        hint = ", beside `type` and not inside `function`" if "function" in tool else ""
        raise BadRequest(f"`{where}.name` must be a string{hint}", param=f"{where}.name")
    return name


def _chosen(choice: Any, told: Mapping[str, Told], any_given: bool) -> tuple[set[str] | None, Any]:
    """The functions that may be called, None for all; and `tool_choice` for chat."""
    kind = choice.get("type") if isinstance(choice, dict) else None
    allowed: set[str] | None = None
    if kind == "allowed_tools":
        allowed, choice = _allowed(choice, told), choice.get("mode")
    if choice == "required" and (any_given or allowed is not None) and not (told if allowed is None else allowed):
        raise _wrong("requires a call, and none of the tools is a function of your own")
    if choice is None or (isinstance(choice, str) and choice in _CHOICES):
        return allowed, choice
    if isinstance(kind, str) and kind in _OURS and isinstance(choice.get("name"), str):
        return None, {"type": "function", "function": {"name": _known_as(choice, told)}}
    if isinstance(kind, str) and kind not in (*_OURS, "allowed_tools"):
        raise _wrong(f"forces {kind[:LONGEST_NAME]!r}, which is not run here: it must be {_WANTED}")
    raise _wrong(f"must be {_WANTED}")


def _allowed(choice: Json, told: Mapping[str, Told]) -> set[str]:
    """Of `allowed_tools`: those that are functions here."""
    listed = choice.get("tools")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _wrong("of type allowed_tools must have `tools`, a list of objects")
    named = [one for one in listed if isinstance(one.get("name"), str)]
    inside = {one["name"] for one in named if one.get("type") == "namespace"}
    names = {_known_as(one, told) for one in named if one.get("type") in _OURS}
    return {name for name, one in told.items() if name in names or one.namespace in inside}


def _known_as(choice: Json, told: Mapping[str, Told]) -> str:
    """The function in chat that is meant: with its namespace or, where only one has this name, without."""
    name, namespace = choice["name"], choice.get("namespace")
    whole = chat_name(name, namespace if isinstance(namespace, str) else None)
    alike = [key for key, one in told.items() if one.name == name]
    return alike[0] if whole not in told and len(alike) == 1 else whole


def _wrong(what: str) -> BadRequest:
    return BadRequest(f"`tool_choice` {what}", param="tool_choice")
