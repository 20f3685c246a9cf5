"""The tools of a request to Anthropic's Messages API as functions of a chat completion.

with an `input_schema` ────────────────────────> a function
bash_*, text_editor_*, memory_* ───────────────> functions with the schemas that Anthropic publishes; clients run them
web_search_*, code_execution_*, computer_*, ... ─> left out: only Anthropic's servers run them
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.document.string_field import string_field
from gateway.errors import BadRequest

Json = dict[str, Any]

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_VERSION = re.compile(r"_\d{8}$")
_TEXT: Json = {"type": "string"}
_LINE: Json = {"type": "integer"}
_RANGE: Json = {"type": "array", "items": _LINE, "minItems": 2, "maxItems": 2}
_OF_FILES: Mapping[str, Json] = {
    "path": _TEXT,
    "view_range": _RANGE,
    "file_text": _TEXT,
    "old_str": _TEXT,
    "new_str": _TEXT,
    "insert_line": _LINE,
    "insert_text": _TEXT,
}


def _schema(needed: str, **fields: Json) -> Json:
    return {"type": "object", "properties": fields, "required": needed.split()}


def _commands(*names: str) -> Json:
    return {"type": "string", "enum": list(names)}


_PUBLISHED: Mapping[str, tuple[str, Json]] = {  # description and schema, by the tool's type without its version
    "bash": (
        "Runs a command in a persistent bash session and returns its output. `restart` restarts the session.",
        _schema("", command=_TEXT, restart={"type": "boolean"}),
    ),
    "text_editor": (
        "Views, creates and edits text files. `view` takes a file, optionally with `view_range`, or a directory;"
        " `create` takes `file_text`; `str_replace` replaces `old_str`, which must occur exactly once, with `new_str`;"
        " `insert` inserts `insert_text` (in older versions `new_str`) after the line `insert_line`.",
        _schema(
            "command path",
            command=_commands("view", "create", "str_replace", "insert", "undo_edit"),
            **_OF_FILES,
        ),
    ),
    "memory": (
        "Keeps notes in files under /memories that persist across conversations. `view` takes a directory or a file;"
        " `create` takes `file_text`; `str_replace` replaces `old_str` with `new_str`; `insert` inserts `insert_text`"
        " after the line `insert_line`; `delete` removes `path`; `rename` moves `old_path` to `new_path`.",
        _schema(
            "command",
            command=_commands("view", "create", "str_replace", "insert", "delete", "rename"),
            **_OF_FILES,
            old_path=_TEXT,
            new_path=_TEXT,
        ),
    ),
}


def read_tools(body: Mapping[str, Any]) -> Json:
    """The chat fields about tools; empty if no tool can be called. Raises BadRequest."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if not isinstance(tools, list):
        raise BadRequest("`tools` must be a list", param="tools")
    if choice is not None and not isinstance(choice, dict):
        raise BadRequest("`tool_choice` must be an object", param="tool_choice")
    functions = [found for index, tool in enumerate(tools) if (found := _function(tool, f"tools[{index}]")) is not None]
    chosen = dict(_tool_choice(choice, functions, tools)) if choice else {}
    if not functions:
        return {}
    return {"tools": [{"type": "function", "function": function} for function in functions], **chosen}


def _function(tool: Any, where: str) -> Json | None:
    """The tool as a function; None if it is left out."""
    if not isinstance(tool, dict):
        raise BadRequest(f"`{where}` must be an object", param=where)
    kind = tool.get("type") or "custom"
    if not isinstance(kind, str):
        raise BadRequest(f"`{where}.type` must be a string", param=f"{where}.type")
    family = _VERSION.sub("", kind)
    if kind != "custom" and family not in _PUBLISHED:
        return None
    name = string_field(tool, "name", f"{where}.")
    if kind != "custom":
        about, published = _PUBLISHED[family]
        return {"name": name, "description": about, "parameters": published}
    schema = tool.get("input_schema")
    if schema is not None and not isinstance(schema, dict):
        raise BadRequest(f"`{where}.input_schema` must be an object", param=f"{where}.input_schema")
    own = {key: tool[key] for key in ("description", "strict") if tool.get(key) is not None}
    return {"name": name, "parameters": schema or {}, **own}


def _tool_choice(choice: Json, functions: list[Json], tools: list[Json]) -> Iterator[tuple[str, Any]]:
    kind = choice.get("type")
    if kind == "tool":
        name = string_field(choice, "name", "tool_choice.")
        if all(name != one["name"] for one in functions) and any(name == one.get("name") for one in tools):
            raise _server_side_only(f"forces `{name[:64]}`")
        yield "tool_choice", {"type": "function", "function": {"name": name}}
    elif isinstance(kind, str) and kind in _CHOICES:
        if kind == "any" and tools and not functions:
            raise _server_side_only("requires a call")
        yield "tool_choice", _CHOICES[kind]
    else:
        raise BadRequest("`tool_choice.type` must be auto, any, tool or none", param="tool_choice.type")
    if choice.get("disable_parallel_tool_use"):
        yield "parallel_tool_calls", False


def _server_side_only(what: str) -> BadRequest:
    message = f"`tool_choice` {what}, but only Anthropic's servers run such tools; add a tool with an `input_schema`"
    return BadRequest(message, param="tool_choice")
