"""The tool calls of one choice, numbered and named once, however a host's pieces come.

    index 0, index 0, ...        no index, null, "0"          a call without an id, or with an empty one
    a new id in each piece       the name in each piece       pieces of two calls in turns
    arguments as an object       a raw line break in them     arguments as JSON text in a JSON text

What comes out is what OpenAI sends: the first piece of a call has its index (0, 1, ...), its id, which no other call of
the answer has, and its name; the others its index and more of its arguments, which are text.
"""

import re
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from gateway.repair.healing import Brackets, unquoted
from gateway.repair.lenient import all_mended, joined, mended

LARGEST_KEPT = 1024 * 1024  # characters of arguments that are compared with what comes later

Json = dict[str, Any]

_CONTROL = re.compile("([\x00-\x1f])")
_OWN = frozenset({"arguments", "function", "id", "index", "name", "type"})  # the rest of a call is the host's


class _Piece(NamedTuple):
    """A host's piece; what it does not say is None, or empty."""

    hosts_index: int | None
    id: str
    name: str
    arguments: str
    rest: Json

    @property
    def says_something(self) -> bool:
        return bool(self.id or self.name or self.arguments)

    @property
    def begins(self) -> bool:
        """Whether its arguments begin an object."""
        return self.arguments.lstrip()[:1] == "{"


class _NumberedCall:
    """One call so far. Until its name is known nothing of it is said."""

    __slots__ = (
        "_brackets",
        "_half",
        "_kept",
        "_size",
        "hosts_id",
        "hosts_index",
        "id",
        "name",
        "number",
        "quoted",
        "waiting",
    )

    def __init__(self, piece: _Piece, call_id: str) -> None:
        self.hosts_index = piece.hosts_index
        self.hosts_id = piece.id
        self.id = call_id
        self.name = ""
        self.number: int | None = None  # once it is said
        self.quoted = False  # whether its arguments are a JSON text, in which the true ones may stand
        self.waiting: list[str] = []  # arguments that are not said yet
        self._half = ""  # of a character
        self._kept: list[str] = []  # all of its arguments
        self._size = 0
        self._brackets = Brackets()

    @property
    def whole(self) -> bool:
        """Whether its arguments are a complete object."""
        return self._brackets.whole

    @property
    def partial(self) -> bool:
        return self._size > 0 and not self.whole

    def is_repeated_by(self, piece: _Piece) -> bool:
        """Whether a piece says the whole call once more."""
        return self.whole and "".join(self._kept).strip() == piece.arguments.strip()

    def take(self, arguments: str) -> bool:
        """The arguments of a piece; whether they had to be mended: control characters inside strings are escaped, which
        is all that they can mean."""
        if self._half or not arguments.isascii():
            arguments, self._half = joined(arguments, self._half)
        self.quoted = self.quoted or (not self._size and arguments.lstrip()[:1] == '"')
        self._size += len(arguments)
        if self._size <= LARGEST_KEPT:
            self._kept.append(arguments)
        else:
            self._kept.clear()
        if _CONTROL.search(arguments) is None:
            self._brackets.feed(arguments)
            self.waiting.append(arguments)
            return False
        parts = [*map(self._escaped, _CONTROL.split(arguments))]
        self.waiting += parts
        return sum(map(len, parts)) > len(arguments)

    def release(self) -> str:
        """The arguments that may be said."""
        text = "".join(self.waiting)
        self.waiting.clear()
        return text

    def end(self) -> None:
        self.waiting.append(mended(self._half))
        self._half = ""

    def _escaped(self, part: str) -> str:
        brackets = self._brackets
        if brackets.in_string and not brackets.skips and _CONTROL.fullmatch(part):
            return orjson.dumps(part).decode()[1:-1]
        brackets.feed(part)
        return part


class Pieces:
    """The calls of one choice. `ids` are those of the whole answer."""

    __slots__ = ("_at", "_calls", "_ids", "_said", "mended")

    def __init__(self, ids: set[str]) -> None:
        self._ids = ids
        self._calls: list[_NumberedCall] = []
        self._at: dict[int, _NumberedCall] = {}  # the last one at each index of the host
        self._said = 0
        self.mended = False  # whether arguments were

    def take(self, calls: Iterable[Any]) -> list[Json]:
        """The pieces for the client in one delta of the host."""
        pieces = [_piece(call) for call in calls if isinstance(call, dict)]
        told: list[Json] = []
        for place, piece in enumerate(pieces):
            there = self._there(piece, place if len(pieces) > 1 else None)
            if there is None or self._is_another(there, piece):
                told += self._begin(piece)
            elif not (piece.id and piece.name and there.is_repeated_by(piece)):
                told += self._say(there, piece)
        return told

    def knows(self, index: int) -> bool:
        """Whether a call has begun at this index of the host."""
        return index in self._at

    def more(self, index: int, arguments: str) -> list[Json]:
        """The same as `take` for one piece of a call that has begun: its index and arguments only."""
        call = self._at[index]
        self.mended |= call.take(arguments)
        return self._released(call, {})

    def whole(self, calls: Iterable[Any]) -> list[Json]:
        """The calls of a message, each of which is whole. Raises ValueError as `end` does."""
        told: list[Json] = []
        for call in calls:
            if isinstance(call, dict):
                told += self._begin(_piece(call))
        for rest in self.end():
            told[rest["index"]]["function"]["arguments"] += rest["function"]["arguments"]
        for one in told:
            del one["index"]
        return told

    def end(self) -> list[Json]:
        """The pieces that have waited. Raises ValueError where arguments have come for a call without a name."""
        told = []
        for call in self._calls:
            call.end()
            waiting = call.release()
            if waiting and call.number is None:
                raise ValueError("a tool call without a name")
            if waiting:
                told.append({"index": call.number, "function": {"arguments": self._unquoted(waiting)}})
        return told

    def _there(self, piece: _Piece, place: int | None) -> _NumberedCall | None:
        """The call that a piece points to, by its index, its id or its place; None where it can only begin one."""
        last = self._calls[-1] if self._calls else None
        if piece.hosts_index is not None:
            return self._at_index(piece, piece.hosts_index, last)
        if piece.id:
            return self._known(piece.id) or last
        by_place = not piece.name and place is not None and place < len(self._calls)
        return self._calls[place] if by_place and place is not None else last

    def _at_index(self, piece: _Piece, index: int, last: _NumberedCall | None) -> _NumberedCall | None:
        there = self._at.get(index)
        if there is not None:
            differs = piece.id and piece.id != there.hosts_id
            return (differs and self._known(piece.id, index)) or there  # some hosts count all of them 0
        if not piece.id and not piece.name:
            return last
        known = self._known(piece.id) if piece.id else None
        continues = known is not None and (not piece.name or (piece.name == known.name and known.partial))
        return known if continues else None  # some hosts count the pieces

    def _is_another(self, there: _NumberedCall, piece: _Piece) -> bool:
        """Whether a piece begins another call than the one that it points to: it must name one."""
        if not piece.name:
            return False
        differs = bool(piece.id and there.hosts_id and piece.id != there.hosts_id)
        if not there.name:
            return differs
        if differs:
            return not (piece.name == there.name and there.partial)  # a new id in each piece
        if piece.name != there.name:
            return True
        return there.whole and piece.begins and not (piece.id and there.is_repeated_by(piece))

    def _known(self, hosts_id: str, index: int | None = None) -> _NumberedCall | None:
        """The last call with this id, and at this index where one is given."""
        for call in reversed(self._calls):
            if call.hosts_id == hosts_id and index in (None, call.hosts_index):
                return call
        return None

    def _begin(self, piece: _Piece) -> list[Json]:
        if not piece.says_something:
            return []
        call_id = piece.id if piece.id and piece.id not in self._ids else f"call_{secrets.token_hex(12)}"
        self._ids.add(call_id)
        call = _NumberedCall(piece, call_id)
        self._calls.append(call)
        if piece.hosts_index is not None:
            self._at[piece.hosts_index] = call
        return self._say(call, piece)

    def _say(self, call: _NumberedCall, piece: _Piece) -> list[Json]:
        call.name = call.name or piece.name
        call.hosts_id = call.hosts_id or piece.id
        self.mended |= call.take(piece.arguments)
        return self._released(call, piece.rest)

    def _released(self, call: _NumberedCall, rest: Json) -> list[Json]:
        """What may be said of a call now; `rest` is for its first piece."""
        if not call.name:
            return []
        text = "" if call.quoted else call.release()
        if call.number is not None:
            return [{"index": call.number, "function": {"arguments": text}}] if text else []
        call.number = self._said
        self._said += 1
        function = {"name": call.name, "arguments": text}
        return [{"index": call.number, "id": call.id, "type": "function", "function": function, **rest}]

    def _unquoted(self, arguments: str) -> str:
        inner = unquoted(arguments)
        self.mended |= inner is not None
        return arguments if inner is None else inner


def _piece(call: Json) -> _Piece:
    function = call.get("function")
    if not isinstance(function, dict):
        function = call  # some hosts write both into one object
    name = function.get("name")
    rest = {key: value for key, value in call.items() if key not in _OWN and value is not None}
    text = _text(function.get("arguments"))
    return _Piece(_index(call.get("index")), _id(call.get("id")), name if isinstance(name, str) else "", text, rest)


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _id(value: object) -> str:
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def _text(arguments: Any) -> str:
    """Arguments are JSON in a text; some hosts send what the text would say."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(all_mended(arguments)).decode()
