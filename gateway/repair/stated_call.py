"""One structured tool call of a host, fragment by fragment: its JSON is sent once, and completely."""

import secrets
from typing import Any

import orjson

from gateway.repair.json_repair import Brackets, closed, is_copy
from gateway.repair.tool_call_markup import MarkupCall

LARGEST_ARGUMENTS = 1024 * 1024  # characters of one call that are followed


class StatedCall:
    """A call in the `tool_calls` of an answer. Text behind the end of its JSON is held, because it may be a
    repetition."""

    __slots__ = ("_brackets", "_pieces", "_size", "_trailing", "id", "name")

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self._pieces: list[str] = []
        self._size = 0
        self._brackets = Brackets()
        self._trailing: list[str] = []  # text behind the end of its JSON

    @classmethod
    def of(cls, call: MarkupCall) -> "StatedCall":
        """A call that is complete."""
        stated = cls(f"call_{secrets.token_hex(12)}", call.name)
        stated._pieces.append(call.arguments)
        return stated

    @property
    def arguments(self) -> str:
        return "".join(self._pieces)

    def take(self, piece: str) -> str:
        """The part of `piece` that may be sent: up to the end of the JSON."""
        self._size += len(piece)
        if self._size > LARGEST_ARGUMENTS:
            waiting = "".join(self._trailing)
            self._trailing.clear()
            return waiting + piece
        end = self._brackets.feed(piece)
        if not self._trailing:
            end += len(piece[end:]) - len(piece[end:].lstrip())
        if end < len(piece):
            self._trailing.append(piece[end:])
        self._pieces.append(piece[:end])
        return piece[:end]

    def end(self, clean: bool) -> tuple[str, bool]:
        """The rest of its arguments to send, and whether they were repaired."""
        trailing, arguments = "".join(self._trailing), self.arguments
        if trailing and is_copy(arguments, trailing):
            return "", True
        whole = closed(arguments) if clean and not trailing and self._size <= LARGEST_ARGUMENTS else None
        rest = trailing if whole is None else whole[len(arguments) :]
        self._pieces.append(rest)
        return rest, whole is not None

    def is_same(self, call: MarkupCall) -> bool:
        """Whether a call in markup is this one. Arguments that cannot be parsed count as equal."""
        if call.name != self.name:
            return False
        try:
            return bool(orjson.loads(self.arguments or "{}") == orjson.loads(call.arguments))
        except orjson.JSONDecodeError:
            return True

    def delta(self, index: int) -> dict[str, Any]:
        """The whole call as a client gets it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"index": index, "id": self.id, "type": "function", "function": function}
