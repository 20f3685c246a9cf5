"""The conversation of a Responses request as chat messages.

    message (user, system, developer) ─────────────────> a message
    reasoning, message (assistant), function_call ─┐
    reasoning, ...                                ─┴──> one assistant message, until something is said to the model
    function_call_output ──────────────────────────────> a `tool` message

Chat wants what the model said in one turn in one message, its reasoning beside the calls that came of it.
"""

from collections.abc import Callable
from typing import Any

from gateway.errors import BadRequest

_PARTS = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "refusal": "refusal",
}  # type -> where its text is
_PARAGRAPH = "\n\n"
_SAID_TO_IT = frozenset({"user", "system", "developer"})


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
        for index, item in enumerate(said):
            conversation.take(item, f"input[{index}]")
    else:
        raise BadRequest("`input` must be a text, or a list of at least one item", param="input")
    return conversation.whole()


class _Conversation:
    """Messages so far, and the model's turn that is not over yet."""

    __slots__ = ("_calls", "_messages", "_texts", "_thoughts")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"<_Conversation {len(self._messages)} messages, {len(self._calls)} calls in the open turn>"

    def take(self, item: Any, where: str) -> None:
        """One item of `input`; `where` is its place, for errors."""
        if not isinstance(item, dict):
            raise BadRequest(f"`{where}` must be an object", param=where)
        kind = item.get("type") or ("message" if "role" in item else None)
        take = _TAKE.get(kind) if isinstance(kind, str) else None
        if take is None:
            raise BadRequest(f"`{where}.type` is {repr(kind)[:60]}; {_instead(kind)}", param=f"{where}.type")
        take(self, item, where)

    def hear(self, message: dict[str, Any]) -> None:
        """Something said to the model, which ends its turn."""
        self._end_turn()
        self._messages.append(message)

    def whole(self) -> list[dict[str, Any]]:
        self._end_turn()
        if not self._messages:
            raise BadRequest("`input` holds no message", param="input")
        return self._messages

    def _message(self, item: dict[str, Any], where: str) -> None:
        role, texts = item.get("role"), _texts(item.get("content"), f"{where}.content")
        if role == "assistant":
            self._texts.append("".join(texts))
        elif isinstance(role, str) and role in _SAID_TO_IT:
            parts = [{"type": "text", "text": text} for text in texts]
            self.hear({"role": role, "content": parts if len(parts) > 1 else "".join(texts)})
        else:
            raise BadRequest(f"`{where}.role` must be user, assistant, system or developer", param=f"{where}.role")

    def _reasoning(self, item: dict[str, Any], where: str) -> None:
        """Its text, which is in `content` or, where a summary was asked for, in `summary`. Sealed text is another's."""
        parts = item.get("content") or item.get("summary")
        if parts is None or not isinstance(parts, list) or not all(map(_is_text, parts)):
            raise BadRequest(f"`{where}` must have `content` or `summary`, a list of texts", param=where)
        if parts or not item.get("encrypted_content"):
            self._thoughts.append(_PARAGRAPH.join([part["text"] for part in parts]))

    def _call(self, item: dict[str, Any], where: str) -> None:
        name, arguments, call = (_string(item, field, where) for field in ("name", "arguments", "call_id"))
        self._calls.append({"id": call, "type": "function", "function": {"name": name, "arguments": arguments}})

    def _output(self, item: dict[str, Any], where: str) -> None:
        call, texts = _string(item, "call_id", where), _texts(item.get("output"), f"{where}.output")
        self.hear({"role": "tool", "tool_call_id": call, "content": "\n".join(texts)})

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


_TAKE: dict[str, Callable[[_Conversation, dict[str, Any], str], None]] = {
    "message": _Conversation._message,
    "reasoning": _Conversation._reasoning,
    "function_call": _Conversation._call,
    "function_call_output": _Conversation._output,
}


def _instead(kind: object) -> str:
    if kind == "item_reference":
        return "nothing is stored here: send the item itself (SDKs do with `store: false`)"
    return f"it must be one of {', '.join(_TAKE)}"


def _texts(content: Any, where: str) -> list[str]:
    """The texts of a content: a string, or a list of parts."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise BadRequest(f"`{where}` must be a text or a list of parts", param=where)
    return [_part(part, f"{where}[{index}]") for index, part in enumerate(content)]


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    field = _PARTS.get(kind) if isinstance(kind, str) else None
    if field is None:
        raise BadRequest(
            f"`{where}.type` is {kind!r}; the model reads text only, as `input_text`", param=f"{where}.type"
        )
    return _string(part, field, where)


def _string(item: dict[str, Any], field: str, where: str) -> str:
    value = item.get(field)
    if not isinstance(value, str):
        raise BadRequest(f"`{where}.{field}` must be a string", param=f"{where}.{field}")
    return value


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
