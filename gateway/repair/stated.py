"""One tool call as the host stated it, piece by piece: its JSON is said once, and to its end."""

import secrets
from typing import Any

import orjson

from gateway.repair.dsml import MarkupCall
from gateway.repair.healing import Brackets, closed, is_copy

LARGEST_ARGUMENTS = 1024 * 1024  # characters of one call that are followed


class Stated:
    """A structured call. What stands behind the end of its JSON waits, because it may be the same once more."""

    __slots__ = ("_after", "_brackets", "_pieces", "_size", "id", "name")

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self._pieces: list[str] = []
        self._size = 0
        self._brackets = Brackets()
        self._after: list[str] = []  # what came behind the end of its JSON

    @classmethod
    def of(cls, call: MarkupCall) -> "Stated":
        """A call that is whole."""
        stated = cls(f"call_{secrets.token_hex(12)}", call.name)
        stated._pieces.append(call.arguments)
        return stated

    @property
    def arguments(self) -> str:
        return "".join(self._pieces)

    def take(self, piece: str) -> str:
        """The part of `piece` that may go on: not what stands behind the end of the JSON."""
        self._size += len(piece)
        if self._size > LARGEST_ARGUMENTS:
            waiting = "".join(self._after)
            self._after.clear()
            return waiting + piece
        end = self._brackets.feed(piece)
        if not self._after:
            end += len(piece[end:]) - len(piece[end:].lstrip())
        if end < len(piece):
            self._after.append(piece[end:])
        self._pieces.append(piece[:end])
        return piece[:end]

    def end(self, clean: bool) -> tuple[str, bool]:
        """What is still to be said of its arguments, and whether they were mended."""
        after, arguments = "".join(self._after), self.arguments
        if after and is_copy(arguments, after):
            return "", True
        whole = closed(arguments) if clean and not after and self._size <= LARGEST_ARGUMENTS else None
        rest = after if whole is None else whole[len(arguments) :]
        self._pieces.append(rest)
        return rest, whole is not None

    def is_same(self, call: MarkupCall) -> bool:
        """Whether a call from the markup is this one. Arguments that cannot be read are taken for the same."""
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
