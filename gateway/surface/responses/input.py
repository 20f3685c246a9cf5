"""The conversation of a Responses request as chat messages.

    message (user, system, developer) ─────────────────> a message
    reasoning, message (assistant), a call         ─┐
    reasoning, ...                                 ─┴──> one assistant message, until something is said to the model
    the output of a call ──────────────────────────────> a `tool` message
    items of OpenAI's own tools, and unknown ones ─────> a note (see `notes`)

Chat wants what the model said in one turn in one message, its reasoning beside the calls that came of it. A call of a
tool that is no function (`local_shell`, ...) is kept where its output is there, too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.surface.notes import note
from gateway.surface.responses.tools import INPUT, chat_name

Json = dict[str, Any]

_PARAGRAPH = "\n\n"
_SAID_TO_IT = frozenset({"user", "system", "developer"})
_CALL, _OUTPUT = "_call", "_output"
_ABOUT_A_CALL = frozenset({"call_id", "caller", "created_by", "environment", "execution", "id", "status", "type"})


def messages(instructions: Any, said: Any) -> list[dict[str, Any]]:
    """The messages of `instructions` and `input`. Raises BadRequest."""
    conversation = _Conversation()
    if instructions is not None:
        if not isinstance(instructions, str):
            raise BadRequest("`instructions` must be a text", param="instructions")
        conversation.hear({"role": "system", "content": instructions})
    if isinstance(said, str):
        conversation.hear({"role": "user", "content": said})
    elif isinstance(said, list) and said:
        conversation.paired = _paired(said)
        newest = _newest(said)
        for index, item in enumerate(said):
            conversation.take(item, f"input[{index}]", is_new=index == newest)
    else:
        raise BadRequest("`input` must be a text, or a list of at least one item", param="input")
    return conversation.whole()


def _newest(items: list[Any]) -> int:
    """The place of the user's message that is new, -1 where a tool has answered: only there may an image be refused. An
    agent could not take back what came before, nor what its tool has shown."""
    newest = -1
    for index, item in reversed(list(enumerate(items))):
        kind, role = (item.get("type"), item.get("role")) if isinstance(item, dict) else (None, None)
        if isinstance(kind, str) and kind.endswith(_OUTPUT):
            return -1
        if not isinstance(role, str) or role not in _SAID_TO_IT:
            break
        newest = index if newest < 0 and role == "user" else newest
    return newest


def _paired(items: list[Any]) -> frozenset[str]:
    """The names of calls that were made and answered."""
    made: set[str] = set()
    answered: set[str] = set()
    for item in items:
        kind, call = (item.get("type"), item.get("call_id")) if isinstance(item, dict) else (None, None)
        if isinstance(kind, str) and isinstance(call, str):
            (answered if kind.endswith(_OUTPUT) else made).add(call)
    return frozenset(made & answered)


class _Conversation:
    """Messages so far, and the model's turn that is not over yet. `paired` are the calls that have their output."""

    __slots__ = ("_calls", "_messages", "_texts", "_thoughts", "paired")

    def __init__(self) -> None:
        self.paired: frozenset[str] = frozenset()
        self._messages: list[Json] = []
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[Json] = []

    def __repr__(self) -> str:
        return f"<_Conversation {len(self._messages)} messages, {len(self._calls)} calls in the open turn>"

    def take(self, item: Any, where: str, *, is_new: bool) -> None:
        """One item of `input`; `where` is its place, for errors. In one that is new an image is refused."""
        if not isinstance(item, dict):
            raise BadRequest(f"`{where}` must be an object", param=where)
        kind = item.get("type") or ("message" if "role" in item else None)
        if not isinstance(kind, str) or kind == "item_reference":
            raise BadRequest(f"`{where}.type` is {repr(kind)[:60]}; {_instead(kind)}", param=f"{where}.type")
        if kind == "message":
            self._message(item, where, is_new)
        elif (take := _TAKE.get(kind)) is not None:
            take(self, item, where)
        elif kind != "additional_tools":  # which `responses_tools` has read
            self._foreign(item, kind)

    def hear(self, message: dict[str, Any]) -> None:
        """Something said to the model, which ends its turn."""
        self._end_turn()
        self._messages.append(message)

    def whole(self) -> list[dict[str, Any]]:
        self._end_turn()
        if not self._messages:
            raise BadRequest("`input` holds no message", param="input")
        return self._messages

    def _message(self, item: Json, where: str, is_new: bool) -> None:
        role, content = item.get("role"), item.get("content")
        if role == "assistant":
            self._texts.append("".join(_texts(content or "", f"{where}.content")))
        elif isinstance(role, str) and role in _SAID_TO_IT:
            texts = _texts(content, f"{where}.content", refuse=is_new)
            parts = [{"type": "text", "text": text} for text in texts]
            self.hear({"role": role, "content": parts if len(parts) > 1 else "".join(texts)})
        else:
            raise BadRequest(f"`{where}.role` must be user, assistant, system or developer", param=f"{where}.role")

    def _reasoning(self, item: Json, where: str) -> None:
        """Its text, which is in `content` or, where a summary was asked for, in `summary`. Sealed text is another's."""
        parts, sealed = item.get("content") or item.get("summary"), item.get("encrypted_content")
        if parts is None and sealed:
            return
        if parts is None or not isinstance(parts, list) or not all(map(_is_text, parts)):
            raise BadRequest(f"`{where}` must have `content` or `summary`, a list of texts", param=where)
        if parts or not sealed:
            self._thoughts.append(_PARAGRAPH.join([part["text"] for part in parts]))

    def _call(self, item: Json, where: str) -> None:
        name, arguments, call = (_string(item, field, where) for field in ("name", "arguments", "call_id"))
        self._calls.append(_chat_call(item, name, arguments, call))

    def _custom_call(self, item: Json, where: str) -> None:
        name, text, call = (_string(item, field, where) for field in ("name", INPUT, "call_id"))
        self._calls.append(_chat_call(item, name, orjson.dumps({INPUT: text}).decode(), call))

    def _foreign(self, item: Json, kind: str) -> None:
        """An item of one of OpenAI's own tools, or of a type that came later than this code."""
        call, role = item.get("call_id"), item.get("role")
        if isinstance(call, str) and call in self.paired:
            (self._foreign_output if kind.endswith(_OUTPUT) else self._foreign_call)(item)
        elif isinstance(role, str) and role in _SAID_TO_IT:
            self.hear({"role": role, "content": note(item)})
        else:
            self._texts.append(note(item))

    def _foreign_call(self, item: Json) -> None:
        """A call of a tool that OpenAI's models know without a schema."""
        arguments = _json({name: value for name, value in item.items() if name not in _ABOUT_A_CALL})
        self._calls.append(_chat_call({}, item["type"].removesuffix(_CALL), arguments, item["call_id"]))

    def _output(self, item: Json, where: str) -> None:
        call, output = _string(item, "call_id", where), item.get("output")
        if isinstance(output, dict):  # no text, and no parts: whatever it is, the model reads JSON
            output = _json(output)
        texts = _texts(output or "", f"{where}.output")
        self.hear({"role": "tool", "tool_call_id": call, "content": "\n".join(texts)})

    def _foreign_output(self, item: Json) -> None:
        output = item.get("output")
        content = output if isinstance(output, str) else note(item)
        self.hear({"role": "tool", "tool_call_id": item["call_id"], "content": content})

    def _end_turn(self) -> None:
        """Reasoning that nothing came of is left out."""
        if self._texts or self._calls:
            message: dict[str, Any] = {"role": "assistant", "content": _PARAGRAPH.join(self._texts)}
            if self._thoughts:
                message["reasoning_content"] = _PARAGRAPH.join(self._thoughts)
            if self._calls:
                message["tool_calls"] = self._calls
            self._messages.append(message)
        self._thoughts, self._texts, self._calls = [], [], []


_TAKE: dict[str, Callable[[_Conversation, Json, str], None]] = {
    "reasoning": _Conversation._reasoning,
    "function_call": _Conversation._call,
    "function_call_output": _Conversation._output,
    "custom_tool_call": _Conversation._custom_call,
    "custom_tool_call_output": _Conversation._output,
}


def _instead(kind: object) -> str:
    if kind == "item_reference":
        return "responses are not kept here: send the item itself (SDKs do with `store: false`)"
    return f"it must be one of message, {', '.join(_TAKE)}"


def _json(value: Json) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested too deeply to be written again
        return "{}"


def _chat_call(item: Json, name: str, arguments: str, call: str) -> Json:
    namespace = item.get("namespace")
    called = chat_name(name, namespace if isinstance(namespace, str) else None)
    return {"id": call, "type": "function", "function": {"name": called, "arguments": arguments}}


def _texts(content: Any, where: str, *, refuse: bool = False) -> list[str]:
    """The texts of a content: a string, or a list of parts. A part that holds none becomes a note, or is refused."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise BadRequest(f"`{where}` must be a text or a list of parts", param=where)
    return [_part(part, f"{where}[{index}]", refuse) for index, part in enumerate(content)]


def _part(part: Any, where: str, refuse: bool) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise BadRequest(f"`{where}.type` is {repr(kind)[:60]}; it must be `input_text`", param=f"{where}.type")
    if kind == "refusal":
        return _string(part, "refusal", where)
    if kind.endswith("text") or isinstance(part.get("text"), str):
        return _string(part, "text", where)
    if refuse:
        told = f"`{where}.type` is {kind[:60]!r}; the model reads text only, as `input_text`"
        raise BadRequest(told, param=f"{where}.type")
    return note(part)


def _string(item: Mapping[str, Any], field: str, where: str) -> str:
    value = item.get(field)
    if not isinstance(value, str):
        raise BadRequest(f"`{where}.{field}` must be a string", param=f"{where}.{field}")
    return value


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
