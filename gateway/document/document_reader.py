"""Decodes a document along type hints: dataclasses, literals, tuples and numbers with a unit."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gateway.document.node import Items, Node, Place, Scalar, Table, quoted
from gateway.errors import ConfigError
from gateway.types.units import DURATION, SHARE, USD, USD_PER_HOUR, Unit

T = TypeVar("T")
Hook = Callable[["DocumentReader", Node], Any]
SECRET_FIELDS = frozenset({"key", "api_key", "password", "token"})
LARGEST = 1e15  # for any number, in its base unit
LONGEST = 40  # characters; a longer number is not parsed
INVALID: Any = object()  # the result of reading a node with a problem

_NUMBER = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r"[0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15}")
_WHOLE = re.compile(r"0|[1-9][0-9]*")
_QUANTITY = re.compile(r"\$?([0-9.]+)(.*)")
_SCALE = {
    "ms": Decimal("0.001"),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
    "%": Decimal("0.01"),
    "KiB": Decimal(1 << 10),
    "MiB": Decimal(1 << 20),
    "GiB": Decimal(1 << 30),
}  # every other suffix is the base unit


def decode(node: Node, cls: type[T], hooks: Mapping[Any, Hook] | None = None) -> T:
    """An instance of the dataclass `cls`. `hooks` maps type hints to functions that read them instead.

    Raises ConfigError with every problem of the document.
    """
    reader = DocumentReader(hooks or {})
    value = reader.read(node, cls)
    if problems := reader.problems:
        raise ConfigError(*problems)
    return cast(T, value)


def quantity(text: str, unit: Unit) -> float | None:
    """`text` in the base unit (seconds, a share of 1, USD, bytes); None where it does not match `unit`."""
    match = _QUANTITY.fullmatch(text) if len(text) <= LONGEST and re.fullmatch(unit.pattern, text) else None
    return float(Decimal(match[1]) * _SCALE.get(match[2], Decimal(1))) if match else None


def in_unit(text: str, unit: Unit) -> str:
    """A bare number written with `unit`; the unit's example where `text` is not a plain number."""
    if not _PLAIN.fullmatch(text):
        return unit.example
    number = Decimal(text)
    share = number * 100 if number < 1 else number  # 0.3 and 30 both mean 30%
    plain = f"{share.normalize() if unit is SHARE else number:f}"
    written = {USD: f"${plain}", USD_PER_HOUR: f"${plain}/h", SHARE: f"{plain}%", DURATION: f"{plain}s"}
    return written.get(unit, unit.example)


def nearest(name: str, names: Collection[str]) -> str:
    """The correction for an unknown name: the closest valid one, or all of them."""
    close = get_close_matches(name, names, n=1)
    return f"did you mean `{close[0]}`?" if close else f"write one of {', '.join(sorted(set(names)))}"


@lru_cache(maxsize=256)
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


class DocumentReader:
    """Reads nodes along type hints, and collects every problem instead of stopping at the first."""

    def __init__(self, hooks: Mapping[Any, Hook]) -> None:
        self._problems: list[tuple[Place, str]] = []
        self._hooks = hooks

    def __repr__(self) -> str:
        return f"Reader({len(self._problems)} problems)"

    @property
    def problems(self) -> list[str]:
        """One line each, in the order of their positions, without duplicates."""
        ordered = sorted(dict.fromkeys(self._problems), key=lambda problem: problem[0])
        return [f"{place}: {text}" for place, text in ordered]

    def problem(self, place: Place, text: str) -> Any:
        """Records `place: text` and returns INVALID."""
        self._problems.append((place, text))
        return INVALID

    def read(self, node: Node, hint: Any, name: str = "") -> Any:
        """The value of `node` for `hint`; INVALID after a problem. `name` is the field's, for messages."""
        origin = get_origin(hint)
        if hint in self._hooks:
            return self._hooks[hint](self, node)
        if is_dataclass(hint):
            return self.record(node, hint)
        if origin is tuple:
            return self._items(node, get_args(hint)[0], name)
        if origin is dict:
            return self._table(node, get_args(hint)[1], name)
        if origin in (Union, UnionType):
            return self._optional(node, get_args(hint), name)
        if not isinstance(node, Scalar):
            return self.problem(node.place, f"{_label(name)}expected one value; write it without brackets or fields")
        if origin is Annotated:
            base, unit = get_args(hint)
            return self._quantity(node, base, unit, name)
        if origin is Literal:
            return self._choice(node, get_args(hint), name)
        return self._plain(node, hint, name)

    def record(self, node: Node, cls: Any, given: Mapping[str, Any] | None = None, skip: Collection[str] = ()) -> Any:
        """An instance of the dataclass `cls` from a table.

        `given`: fields that the caller has read itself, and that the table may not name. `skip`: keys of the table that
        the caller reads.
        """
        if not isinstance(node, Table):
            return self.problem(node.place, f"expected a table; write fields such as `{fields(cls)[0].name}: ...`")
        values = dict(given or {})
        hints = {name: hint for name, hint in _hints(cls).items() if name not in values}
        for name, entry in node.entries.items():
            if name in hints:
                values[name] = self.read(entry.node, hints[name], name)
            elif name not in skip:
                named = "" if any(_holds_secret(field) for field in fields(cls)) else f" {quoted(name)}"
                right = "write a space behind its colon" if ":" in name else nearest(name, [*hints, *skip])
                self.problem(entry.place, f"unknown key{named}; {right}")
        for field in fields(cls):
            if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
                values[field.name] = self.problem(node.place, f"`{field.name}` is missing; add `{field.name}: ...`")
        return INVALID if any(value is INVALID for value in values.values()) else cls(**values)

    def _items(self, node: Node, hint: Any, name: str) -> Any:
        if not isinstance(node, Items):
            return self.problem(
                node.place, f"{_label(name)}expected a list; write `[...]` or lines that start with `-`"
            )
        values = tuple(self.read(item, hint, name) for item in node.nodes)
        return INVALID if any(value is INVALID for value in values) else values

    def _table(self, node: Node, hint: Any, name: str) -> Any:
        if not isinstance(node, Table):
            return self.problem(node.place, f"{_label(name)}expected a table; write `name: value` lines")
        values = {key: self.read(entry.node, hint, key) for key, entry in node.entries.items()}
        return INVALID if any(value is INVALID for value in values.values()) else values

    def _optional(self, node: Node, hints: tuple[Any, ...], name: str) -> Any:
        if isinstance(node, Scalar) and node.kind == "null":
            return None
        return self.read(node, next(hint for hint in hints if hint is not type(None)), name)

    def _quantity(self, node: Scalar, base: type, unit: Unit, name: str) -> Any:
        if _is_too_long(node.text) or ((value := quantity(node.text, unit)) or 0) > LARGEST:
            return self.problem(node.place, f"{_label(name)}the number is too large; write it as in `{unit.example}`")
        if value is not None:
            return base(value)
        if _NUMBER.fullmatch(node.text):
            return self.problem(
                node.place, f"{_label(name)}`{node.text}` needs a unit, as in `{in_unit(node.text, unit)}`"
            )
        what = unit.name.replace("_", " ")
        return self.problem(
            node.place, f"{_label(name)}{_value(node, name)} is not valid as {what}; write it as in `{unit.example}`"
        )

    def _choice(self, node: Scalar, choices: tuple[str, ...], name: str) -> Any:
        # By text, so that `no` and `off`, which YAML parses as booleans, are accepted as names.
        if node.text in choices:
            return node.text
        return self.problem(
            node.place, f"{_label(name)}unknown value {_value(node, name)}; {nearest(node.text, choices)}"
        )

    def _plain(self, node: Scalar, hint: type, name: str) -> Any:
        if hint is str and (node.kind == "text" or node.quoted):
            return node.text
        if hint is bool and node.text in ("true", "false") and not node.quoted:
            return node.text == "true"
        pattern = {int: _WHOLE, float: _NUMBER}.get(hint)
        if pattern and pattern.fullmatch(node.text) and not node.quoted:
            if _is_too_long(node.text) or (value := hint(node.text)) > LARGEST:
                return self.problem(node.place, f"{_label(name)}the number is too large; write a smaller one")
            return value
        right = {
            str: "write text, in quotes if YAML parses it as another type",
            bool: "write true or false",
            int: "write a whole number, 0 or more, without quotes",
            float: "write a number, 0 or more, without quotes",
        }[hint]
        return self.problem(node.place, f"{_label(name)}{_value(node, name)} is {_kind(node)}; {right}")


def _holds_secret(field: "Field[Any]") -> bool:
    """A field such as `key` may be a harmless name: then its dataclass shows it in reprs, too."""
    return field.name in SECRET_FIELDS and not field.repr


def _label(name: str) -> str:
    return f"{name}: " if name else ""


def _kind(node: Scalar) -> str:
    if node.kind == "null":
        return "empty"
    return "text" if node.quoted or node.kind == "text" else f"a {node.kind}"


def _value(node: Scalar, name: str) -> str:
    return "the value" if name in SECRET_FIELDS or "//" in node.text or "@" in node.text else f"`{node.text[:60]}`"


def _is_too_long(text: str) -> bool:
    """Whether this is a number with too many digits: Python rejects it, or is slow to parse it."""
    return len(text) > LONGEST and re.match(r"\$?[0-9.]{20}", text) is not None
