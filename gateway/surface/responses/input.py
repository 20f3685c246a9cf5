"""The conversation of a Responses request as chat messages.

    message (user, system, developer) ─────────────────> a message
    reasoning, message (assistant), a call         ─┐
    reasoning, ...                                 ─┴──> one assistant message, until the next input to the model
    the output of a call ──────────────────────────────> a `tool` message
    items of OpenAI's own tools, and unknown ones ─────> a placeholder (see `notes`)

Chat completions have one assistant message per turn, with its reasoning and its tool calls. A call of a built-in tool
(`local_shell`, ...) is kept only if its output is in the input, too.
"""

from collections.abc import Callable
from typing import Any

import orjson

from gateway.document.string_field import string_field
from gateway.errors import BadRequest
from gateway.surface.notes import note
from gateway.surface.responses.tools import INPUT, chat_name

Json = dict[str, Any]

_PARAGRAPH = "\n\n"
_INPUT_ROLES = frozenset({"user", "system", "developer"})
_CALL, _OUTPUT = "_call", "_output"
_ABOUT_A_CALL = frozenset({"call_id", "caller", "created_by", "environment", "execution", "id", "status", "type"})


def messages(instructions: Any, items: Any) -> list[dict[str, Any]]:
    """The messages of `instructions` and `input`. Raises BadRequest."""
    conversation = _Conversation()
    if instructions is not None:
        if not isinstance(instructions, str):
            raise BadRequest("`instructions` must be a string", param="instructions")
        conversation.add_input({"role": "system", "content": instructions})
    if isinstance(items, str):
        conversation.add_input({"role": "user", "content": items})
    elif isinstance(items, list) and items:
        conversation.paired = _paired(items)
        newest = _newest(items)
        for index, item in enumerate(items):
            conversation.take(item, f"input[{index}]", is_new=index == newest)
    else:
        raise BadRequest("`input` must be a string or a list of at least one item", param="input")
    return conversation.whole()


def _newest(items: list[Any]) -> int:
    """Index of the new user message, or -1 if the request ends with tool outputs. Images are rejected only in that
    message: an agent cannot edit its history, nor what a tool returned."""
    newest = -1
    for index, item in reversed(list(enumerate(items))):
        kind, role = (item.get("type"), item.get("role")) if isinstance(item, dict) else (None, None)
        if isinstance(kind, str) and kind.endswith(_OUTPUT):
            return -1
        if not isinstance(role, str) or role not in _INPUT_ROLES:
            break
        newest = index if newest < 0 and role == "user" else newest
    return newest


def _paired(items: list[Any]) -> frozenset[str]:
    """The ids of the calls that have an output."""
    made: set[str] = set()
    answered: set[str] = set()
    for item in items:
        kind, call = (item.get("type"), item.get("call_id")) if isinstance(item, dict) else (None, None)
        if isinstance(kind, str) and isinstance(call, str):
            (answered if kind.endswith(_OUTPUT) else made).add(call)
    return frozenset(made & answered)


class _Conversation:
    """The messages so far, and the open turn of the model. `paired` are the ids of the calls that have an output."""

    __slots__ = ("_calls", "_messages", "_reasoning_texts", "_texts", "paired")

    def __init__(self) -> None:
        self.paired: frozenset[str] = frozenset()
        self._messages: list[Json] = []
        self._reasoning_texts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[Json] = []

    def __repr__(self) -> str:
        return f"<_Conversation {len(self._messages)} messages, {len(self._calls)} calls in the open turn>"

    def take(self, item: Any, where: str, *, is_new: bool) -> None:
        """Adds one item of `input`; `where` is its path in error messages. In a new item, an image is an error."""
        if not isinstance(item, dict):
            raise BadRequest(f"`{where}` must be an object", param=where)
        kind = item.get("type") or ("message" if "role" in item else None)
        if not isinstance(kind, str) or kind == "item_reference":
            raise BadRequest(f"`{where}.type` is {repr(kind)[:60]}; {_instead(kind)}", param=f"{where}.type")
        if kind == "message":
            self._message(item, where, is_new)
        elif (take := _TAKE.get(kind)) is not None:
            take(self, item, where)
        elif kind != "additional_tools":  # read by `tools`
            self._foreign(item, kind)

    def add_input(self, message: dict[str, Any]) -> None:
        """Adds a message to the model, which ends the model's turn."""
        self._end_turn()
        self._messages.append(message)

    def whole(self) -> list[dict[str, Any]]:
        self._end_turn()
        if not self._messages:
            raise BadRequest("`input` has no message", param="input")
        return self._messages

    def _message(self, item: Json, where: str, is_new: bool) -> None:
        role, content = item.get("role"), item.get("content")
        if role == "assistant":
            self._texts.append("".join(_texts(content or "", f"{where}.content")))
        elif isinstance(role, str) and role in _INPUT_ROLES:
            texts = _texts(content, f"{where}.content", refuse=is_new)
            parts = [{"type": "text", "text": text} for text in texts]
            self.add_input({"role": role, "content": parts if len(parts) > 1 else "".join(texts)})
        else:
            raise BadRequest(f"`{where}.role` must be user, assistant, system or developer", param=f"{where}.role")

    def _reasoning(self, item: Json, where: str) -> None:
        """Adds the text in `content` or, if a summary was requested, in `summary`. Encrypted text is skipped: only the
        provider that produced it can read it."""
        parts, encrypted = item.get("content") or item.get("summary"), item.get("encrypted_content")
        if parts is None and encrypted:
            return
        if parts is None or not isinstance(parts, list) or not all(map(_is_text, parts)):
            raise BadRequest(f"`{where}` must have `content` or `summary`, a list of text parts", param=where)
        if parts or not encrypted:
            self._reasoning_texts.append(_PARAGRAPH.join([part["text"] for part in parts]))

    def _call(self, item: Json, where: str) -> None:
        name, arguments, call = (string_field(item, field, f"{where}.") for field in ("name", "arguments", "call_id"))
        self._calls.append(_chat_call(item, name, arguments, call))

    def _custom_call(self, item: Json, where: str) -> None:
        name, text, call = (string_field(item, field, f"{where}.") for field in ("name", INPUT, "call_id"))
        self._calls.append(_chat_call(item, name, orjson.dumps({INPUT: text}).decode(), call))

    def _foreign(self, item: Json, kind: str) -> None:
        """Adds an item of one of OpenAI's built-in tools, or of an unknown type."""
        call, role = item.get("call_id"), item.get("role")
        if isinstance(call, str) and call in self.paired:
            (self._foreign_output if kind.endswith(_OUTPUT) else self._foreign_call)(item)
        elif isinstance(role, str) and role in _INPUT_ROLES:
            self.add_input({"role": role, "content": note(item)})
        else:
            self._texts.append(note(item))

    def _foreign_call(self, item: Json) -> None:
        """Adds a call of a built-in tool, which has no schema in the request."""
        arguments = _json({name: value for name, value in item.items() if name not in _ABOUT_A_CALL})
        self._calls.append(_chat_call({}, item["type"].removesuffix(_CALL), arguments, item["call_id"]))

    def _output(self, item: Json, where: str) -> None:
        call, output = string_field(item, "call_id", f"{where}."), item.get("output")
        if isinstance(output, dict):  # neither a string nor a list of parts: passed to the model as JSON
            output = _json(output)
        texts = _texts(output or "", f"{where}.output")
        self.add_input({"role": "tool", "tool_call_id": call, "content": "\n".join(texts)})

    def _foreign_output(self, item: Json) -> None:
        output = item.get("output")
        content = output if isinstance(output, str) else note(item)
        self.add_input({"role": "tool", "tool_call_id": item["call_id"], "content": content})

    def _end_turn(self) -> None:
        """Closes the open turn. A turn of reasoning alone is dropped."""
        if self._texts or self._calls:
            message: dict[str, Any] = {"role": "assistant", "content": _PARAGRAPH.join(self._texts)}
            if self._reasoning_texts:
                message["reasoning_content"] = _PARAGRAPH.join(self._reasoning_texts)
            if self._calls:
                message["tool_calls"] = self._calls
            self._messages.append(message)
        self._reasoning_texts, self._texts, self._calls = [], [], []


_TAKE: dict[str, Callable[[_Conversation, Json, str], None]] = {
    "reasoning": _Conversation._reasoning,
    "function_call": _Conversation._call,
    "function_call_output": _Conversation._output,
    "custom_tool_call": _Conversation._custom_call,
    "custom_tool_call_output": _Conversation._output,
}


def _instead(kind: object) -> str:
    if kind == "item_reference":
        return "responses are not stored here; send the item itself (SDKs do with `store: false`)"
    return f"it must be one of message, {', '.join(_TAKE)}"


def _json(value: Json) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested too deeply for orjson
        return "{}"


def _chat_call(item: Json, name: str, arguments: str, call: str) -> Json:
    namespace = item.get("namespace")
    called = chat_name(name, namespace if isinstance(namespace, str) else None)
    return {"id": call, "type": "function", "function": {"name": called, "arguments": arguments}}


def _texts(content: Any, where: str, *, refuse: bool = False) -> list[str]:
    """The texts of `content`, a string or a list of parts. A part without text becomes a placeholder or, with `refuse`,
    an error."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise BadRequest(f"`{where}` must be a string or a list of parts", param=where)
    return [_part(part, f"{where}[{index}]", refuse) for index, part in enumerate(content)]


def _part(part: Any, where: str, refuse: bool) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise BadRequest(f"`{where}.type` is {repr(kind)[:60]}; it must be `input_text`", param=f"{where}.type")
    if kind == "refusal":
        return string_field(part, "refusal", f"{where}.")
    if kind.endswith("text") or isinstance(part.get("text"), str):
        return string_field(part, "text", f"{where}.")
    if refuse:
        message = f"`{where}.type` is {kind[:60]!r}; the model reads text only, as `input_text`"
        raise BadRequest(message, param=f"{where}.type")
    return note(part)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
