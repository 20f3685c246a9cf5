"""The tools of a Responses request as functions of a chat completion, and back.

    function ───────────────────────> a function                                   called: function_call
    custom ─────────────────────────> a function with one string, `input`          called: custom_tool_call
    namespace, with tools inside ───> functions named NAMESPACE__NAME              called: with `namespace` and `name`
    additional_tools, an input item ─> more of the same
    web_search, mcp, ..., unknown ──> left out, not rejected: some clients send them with every request

The response names a called tool as the client did; `Tools.by_chat_name` maps chat names to those.
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


class ClientTool(NamedTuple):
    """A tool as the client named it."""

    name: str
    namespace: str | None = None
    custom: bool = False


class Tools(NamedTuple):
    """`fields` for the chat completion request; `by_chat_name` has the client's tools by their function names in it."""

    fields: Json
    by_chat_name: Mapping[str, ClientTool]

    def called(self, name: str) -> ClientTool:
        """The tool that a call of this function name refers to. A model may omit a namespace if that is unambiguous."""
        if (known := self.by_chat_name.get(name)) is not None:
            return known
        alike = [one for one in self.by_chat_name.values() if one.name == name]
        return alike[0] if len(alike) == 1 else ClientTool(name)


NO_TOOLS = Tools({}, {})


def read_tools(body: Mapping[str, Any]) -> Tools:
    """Raises BadRequest. Without a callable tool, `fields` is empty: hosts reject `tool_choice` without `tools`."""
    choice = body.get("tool_choice")
    functions: dict[str, Json] = {}
    by_chat_name: dict[str, ClientTool] = {}
    for function, known in _functions(body):
        functions[function["name"]], by_chat_name[function["name"]] = function, known
    allowed, choice = _chosen(choice, by_chat_name, bool(body.get("tools")))
    if allowed is not None:
        functions = {name: function for name, function in functions.items() if name in allowed}
    if not functions:
        return Tools({}, by_chat_name) if by_chat_name else NO_TOOLS
    fields: Json = {"tools": [{"type": "function", "function": function} for function in functions.values()]}
    if choice is not None:
        fields["tool_choice"] = choice
    if body.get("parallel_tool_calls") is not None:
        fields["parallel_tool_calls"] = body["parallel_tool_calls"]
    return Tools(fields, by_chat_name)


def chat_name(name: str, namespace: str | None) -> str:
    """The function name of a tool in chat completions. It depends on the two names only, so it is stable over turns."""
    if not namespace:
        return name
    whole = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", whole)
    if plain == whole and len(whole) <= LONGEST_NAME:
        return whole
    mark = sha256(whole.encode(errors="replace")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}_{mark}"


def _functions(body: Mapping[str, Any]) -> Iterator[tuple[Json, ClientTool]]:
    yield from _of(body.get("tools"), "tools", None)
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") in ("additional_tools", "tool_search_output"):
            yield from _of(item.get("tools"), f"input[{index}].tools", None)


def _of(tools: Any, where: str, namespace: str | None) -> Iterator[tuple[Json, ClientTool]]:
    if tools and not isinstance(tools, list):
        raise BadRequest(f"`{where}` must be a list of tools", param=where)
    for index, tool in enumerate(tools or ()):
        place = f"{where}[{index}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            raise BadRequest(f'`{place}` must be an object with a `type`, as in {{"type": "function"}}', param=place)
        if kind in _OURS:
            yield _function(tool, _name(tool, place), namespace)
        elif kind == "namespace" and namespace is None:
            yield from _inside(tool, place)


def _inside(tool: Json, where: str) -> Iterator[tuple[Json, ClientTool]]:
    """The tools of a namespace. The namespace's description is prepended to the first tool's."""
    about = tool.get("description")
    for function, client_tool in _of(tool.get("tools"), f"{where}.tools", _name(tool, where)):
        if isinstance(about, str) and about:
            function["description"] = "\n\n".join(filter(None, (about, function.get("description"))))
            about = None
        yield function, client_tool


def _function(tool: Json, name: str, namespace: str | None) -> tuple[Json, ClientTool]:
    custom = tool["type"] == "custom"
    function = (
        _with_one_text(tool) if custom else {key: tool[key] for key in _OF_A_FUNCTION if tool.get(key) is not None}
    )
    function["name"] = chat_name(name, namespace)
    return function, ClientTool(name, namespace, custom)


def _with_one_text(tool: Json) -> Json:
    """A function with one string argument. Hosts do not enforce a grammar, so the description has it."""
    form = tool.get("format") or {}
    grammar = form.get("definition") if isinstance(form, dict) else None
    about = tool.get("description")
    if isinstance(grammar, str):
        shown = f"`{INPUT}` must follow this {form.get('syntax') or ''} grammar:\n{grammar}"
        about = f"{about}\n\n{shown}" if about else shown
    text = {"type": "string", "description": "the complete input of the tool, verbatim"}
    schema = {"type": "object", "properties": {INPUT: text}, "required": [INPUT], "additionalProperties": False}
    return {"name": "", **({"description": about} if about else {}), "parameters": schema}


def _name(tool: Json, where: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        hint = ", next to `type` and not inside `function`" if "function" in tool else ""
        raise BadRequest(f"`{where}.name` must be a string{hint}", param=f"{where}.name")
    return name


def _chosen(choice: Any, by_chat_name: Mapping[str, ClientTool], any_given: bool) -> tuple[set[str] | None, Any]:
    """The functions that may be called (None: all), and the `tool_choice` of the chat completion."""
    kind = choice.get("type") if isinstance(choice, dict) else None
    allowed: set[str] | None = None
    if kind == "allowed_tools":
        allowed, choice = _allowed(choice, by_chat_name), choice.get("mode")
    if (
        choice == "required"
        and (any_given or allowed is not None)
        and not (by_chat_name if allowed is None else allowed)
    ):
        raise _wrong("requires a tool call, but there is no function or custom tool to call")
    if choice is None or (isinstance(choice, str) and choice in _CHOICES):
        return allowed, choice
    if isinstance(kind, str) and kind in _OURS and isinstance(choice.get("name"), str):
        return None, {"type": "function", "function": {"name": _chat_name_of(choice, by_chat_name)}}
    if isinstance(kind, str) and kind not in (*_OURS, "allowed_tools"):
        raise _wrong(f"forces {kind[:LONGEST_NAME]!r}, which the gateway does not run; it must be {_WANTED}")
    raise _wrong(f"must be {_WANTED}")


def _allowed(choice: Json, by_chat_name: Mapping[str, ClientTool]) -> set[str]:
    """The function names that `allowed_tools` lists."""
    listed = choice.get("tools")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _wrong("of type allowed_tools must have `tools`, a list of objects")
    named = [one for one in listed if isinstance(one.get("name"), str)]
    inside = {one["name"] for one in named if one.get("type") == "namespace"}
    names = {_chat_name_of(one, by_chat_name) for one in named if one.get("type") in _OURS}
    return {name for name, one in by_chat_name.items() if name in names or one.namespace in inside}


def _chat_name_of(choice: Json, by_chat_name: Mapping[str, ClientTool]) -> str:
    """The function name that `choice` refers to, with its namespace or, if the name is unique, without."""
    name, namespace = choice["name"], choice.get("namespace")
    whole = chat_name(name, namespace if isinstance(namespace, str) else None)
    alike = [key for key, one in by_chat_name.items() if one.name == name]
    return alike[0] if whole not in by_chat_name and len(alike) == 1 else whole


def _wrong(what: str) -> BadRequest:
    return BadRequest(f"`tool_choice` {what}", param="tool_choice")
