"""Numbers and names the tool calls of one choice once, however the host's fragments look.

    index 0, index 0, ...        no index, null, "0"          a call without an id, or with an empty one
    a new id in each fragment    the name in each fragment    fragments of two calls alternating
    arguments as an object       a raw line break in them     arguments as a JSON string in a JSON string

The output is what OpenAI sends: the first fragment of a call has its index (0, 1, ...), an id that is unique in the
answer, and the name; later ones have the index and more of the arguments, as text.
"""

import re
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from gateway.repair.json_repair import Brackets, unquoted
from gateway.repair.lenient_json import all_mended, joined, mended

LARGEST_KEPT = 1024 * 1024  # characters of arguments kept for comparison with later fragments
LARGEST_HELD = 8 * 1024 * 1024  # characters of one call's arguments that wait for its name, or for their end
MOST_CALLS = 1024  # of one answer

Json = dict[str, Any]

_CONTROL = re.compile("([\x00-\x1f])")
_OWN = frozenset({"arguments", "function", "id", "index", "name", "type"})  # other fields of a call are passed on


class _Fragment(NamedTuple):
    """A host's fragment of a tool call; absent fields are None, or empty."""

    hosts_index: int | None
    id: str
    name: str
    arguments: str
    rest: Json

    @property
    def has_content(self) -> bool:
        return bool(self.id or self.name or self.arguments)

    @property
    def starts_object(self) -> bool:
        """Whether its arguments start an object."""
        return self.arguments.lstrip()[:1] == "{"


class _NumberedCall:
    """One call so far. Nothing of it is sent until its name is known."""

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

    def __init__(self, hosts_index: int | None, call_id: str) -> None:
        self.hosts_index = hosts_index
        self.hosts_id = ""
        self.id = call_id
        self.name = ""
        self.number: int | None = None  # None until it is sent
        self.quoted = False  # whether its arguments are a JSON string, which may hold the real ones
        self.waiting: list[str] = []  # arguments not sent yet
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

    @property
    def holds(self) -> bool:
        """Whether none of its arguments may be sent yet."""
        return self.quoted or not self.name

    def is_repeated_by(self, fragment: _Fragment) -> bool:
        """Whether a fragment repeats the whole call."""
        return self.whole and "".join(self._kept).strip() == fragment.arguments.strip()

    def take(self, arguments: str) -> bool:
        """Takes a fragment's arguments; returns whether they were repaired. Control characters inside strings are
        escaped: they have no other meaning. Raises ValueError where too much of them is held."""
        if self._half or not arguments.isascii():
            arguments, self._half = joined(arguments, self._half)
        self.quoted = self.quoted or (not self._size and arguments.lstrip()[:1] == '"')
        self._size += len(arguments)
        if self._size > LARGEST_HELD and self.holds:
            raise ValueError(f"over {LARGEST_HELD} characters of a tool call that cannot be sent yet")
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
        """The arguments that may be sent."""
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


class CallFragments:
    """The calls of one choice. `ids` are the ids of the whole answer. What takes calls raises ValueError where there
    are too many, or where too much of one is held."""

    __slots__ = ("_at", "_by_id", "_calls", "_count", "_ids", "mended")

    def __init__(self, ids: set[str]) -> None:
        self._ids = ids
        self._calls: list[_NumberedCall] = []
        self._at: dict[int, _NumberedCall] = {}  # the last one at each index of the host
        self._by_id: dict[tuple[str, int | None], _NumberedCall] = {}  # the last one with an id: of all, at an index
        self._count = 0
        self.mended = False  # whether arguments were repaired

    def take(self, calls: Iterable[Any]) -> list[Json]:
        """The fragments to send for one delta of the host."""
        fragments = [_fragment(call) for call in calls if isinstance(call, dict)]
        out: list[Json] = []
        for place, fragment in enumerate(fragments):
            target = self._target(fragment, place if len(fragments) > 1 else None)
            if target is None or self._is_another(target, fragment):
                out += self._begin(fragment)
            elif not (fragment.id and fragment.name and target.is_repeated_by(fragment)):
                out += self._extend(target, fragment)
        return out

    def flows(self, index: int) -> bool:
        """Whether a call at this index of the host has begun, and its arguments are sent as they come."""
        call = self._at.get(index)
        return call is not None and not call.holds

    def more(self, index: int, arguments: str) -> list[Json]:
        """As `take`, for one fragment of a call that `flows`: its index and arguments only."""
        call = self._at[index]
        self.mended |= call.take(arguments)
        return self._released(call, {})

    def whole(self, calls: Iterable[Any]) -> list[Json]:
        """The complete calls of a message. Raises ValueError as `end` does."""
        out: list[Json] = []
        for call in calls:
            if isinstance(call, dict):
                out += self._begin(_fragment(call))
        for rest in self.end():
            out[rest["index"]]["function"]["arguments"] += rest["function"]["arguments"]
        for one in out:
            del one["index"]
        return out

    def end(self) -> list[Json]:
        """The arguments still held back. Raises ValueError for arguments of a call without a name."""
        out = []
        for call in self._calls:
            call.end()
            waiting = call.release()
            if waiting and call.number is None:
                raise ValueError("a tool call without a name")
            if waiting:
                out.append({"index": call.number, "function": {"arguments": self._unquoted(waiting)}})
        return out

    def _target(self, fragment: _Fragment, place: int | None) -> _NumberedCall | None:
        """The call that a fragment belongs to, by its index, id or place; None where it can only begin one."""
        last = self._calls[-1] if self._calls else None
        if fragment.hosts_index is not None:
            return self._at_index(fragment, fragment.hosts_index, last)
        if fragment.id:
            return self._known(fragment.id) or last
        by_place = not fragment.name and place is not None and place < len(self._calls)
        return self._calls[place] if by_place and place is not None else last

    def _at_index(self, fragment: _Fragment, index: int, last: _NumberedCall | None) -> _NumberedCall | None:
        target = self._at.get(index)
        if target is not None:
            differs = fragment.id and fragment.id != target.hosts_id
            return (differs and self._known(fragment.id, index)) or target  # some hosts use index 0 for all calls
        if not fragment.id and not fragment.name:
            return last
        known = self._known(fragment.id) if fragment.id else None
        continues = known is not None and (not fragment.name or (fragment.name == known.name and known.partial))
        return known if continues else None  # some hosts count the fragments instead of the calls

    def _is_another(self, target: _NumberedCall, fragment: _Fragment) -> bool:
        """Whether a fragment begins another call than the one found for it: only with a name."""
        if not fragment.name:
            return False
        differs = bool(fragment.id and target.hosts_id and fragment.id != target.hosts_id)
        if not target.name:
            return differs
        if differs:
            return not (fragment.name == target.name and target.partial)  # some hosts send a new id in each fragment
        if fragment.name != target.name:
            return True
        return target.whole and fragment.starts_object and not (fragment.id and target.is_repeated_by(fragment))

    def _known(self, hosts_id: str, index: int | None = None) -> _NumberedCall | None:
        """The last call with this id, and at this index where one is given."""
        return self._by_id.get((hosts_id, index))

    def _remember(self, call: _NumberedCall, hosts_id: str) -> None:
        call.hosts_id = hosts_id
        self._by_id[hosts_id, None] = self._by_id[hosts_id, call.hosts_index] = call

    def _begin(self, fragment: _Fragment) -> list[Json]:
        if not fragment.has_content:
            return []
        if len(self._ids) == MOST_CALLS:
            raise ValueError("too many tool calls")
        call_id = fragment.id if fragment.id and fragment.id not in self._ids else f"call_{secrets.token_hex(12)}"
        self._ids.add(call_id)
        call = _NumberedCall(fragment.hosts_index, call_id)
        self._calls.append(call)
        if fragment.hosts_index is not None:
            self._at[fragment.hosts_index] = call
        return self._extend(call, fragment)

    def _extend(self, call: _NumberedCall, fragment: _Fragment) -> list[Json]:
        call.name = call.name or fragment.name
        if fragment.id and not call.hosts_id:
            self._remember(call, fragment.id)
        self.mended |= call.take(fragment.arguments)
        return self._released(call, fragment.rest)

    def _released(self, call: _NumberedCall, rest: Json) -> list[Json]:
        """The output of a call for now; `rest` is for its first fragment."""
        if not call.name:
            return []
        text = "" if call.quoted else call.release()
        if call.number is not None:
            return [{"index": call.number, "function": {"arguments": text}}] if text else []
        call.number = self._count
        self._count += 1
        function = {"name": call.name, "arguments": text}
        return [{"index": call.number, "id": call.id, "type": "function", "function": function, **rest}]

    def _unquoted(self, arguments: str) -> str:
        inner = unquoted(arguments)
        self.mended |= inner is not None
        return arguments if inner is None else inner


def _fragment(call: Json) -> _Fragment:
    function = call.get("function")
    if not isinstance(function, dict):
        function = call  # some hosts flatten both into one object
    name = function.get("name")
    rest = {key: value for key, value in call.items() if key not in _OWN and value is not None}
    text = _text(function.get("arguments"))
    return _Fragment(_index(call.get("index")), _id(call.get("id")), name if isinstance(name, str) else "", text, rest)


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _id(value: object) -> str:
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def _text(arguments: Any) -> str:
    """Arguments as text. Some hosts send the JSON value itself."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(all_mended(arguments)).decode()
