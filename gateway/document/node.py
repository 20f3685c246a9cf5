"""A YAML document as a tree in which every value has its file, line and column.

text --parse--> Node = Scalar | Items | Table --merge--> Node
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from gateway.document.nesting import DEEPEST
from gateway.errors import ConfigError, Unreadable
from gateway.files import content

_TAG = "tag:yaml.org,2002:"
_KINDS = {"str": "text", "timestamp": "text", "int": "number", "float": "number", "bool": "boolean", "null": "null"}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position, ordered by source, line and column; lines and columns count from 1."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as written. The text is not in the repr, as it may be a secret."""

    place: Place
    text: str
    kind: str  # text | number | boolean | null
    quoted: bool = False

    def __repr__(self) -> str:
        return f"Scalar({self.place}, {self.kind})"


@dataclass(frozen=True, slots=True)
class Items:
    place: Place
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entry:
    place: Place  # of the key
    node: "Node"


@dataclass(frozen=True, slots=True)
class Table:
    place: Place
    entries: Mapping[str, Entry]


Node = Scalar | Items | Table


def parse(text: str, source: str) -> Node:
    """The document in `text`; an empty one is an empty table. `source` names it in problems. Raises ConfigError."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except _TooDeep as error:
        raise ConfigError(
            f"{_at(source, error.problem_mark)}: is nested deeper than {DEEPEST} levels; use fewer"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error, source)) from None
    except yaml.YAMLError:
        raise ConfigError(f"{Place(source, 1, 1)}: has a character that YAML forbids; save it as UTF-8 text") from None
    if root is None:
        return Table(Place(source, 1, 1), {})
    builder = _Builder(source)
    node = builder.build(root)
    if builder.problems:
        raise ConfigError(*builder.problems)
    return node


def read(path: Path) -> Node:
    """The document in a file. Raises ConfigError, or Unreadable where the file cannot be read.

    Only regular files are accepted, and what a shell substitutes: `--config /dev/stdin`, `--config <(...)`.
    """
    try:
        data = path.read_bytes() if str(path).startswith("/dev/") else content(path)
        return parse(data.decode("utf-8"), str(path))
    except OSError as error:
        raise Unreadable(f"{path}:1:1: cannot be read ({error.strerror}); give a readable YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1:1: is not UTF-8; save it as UTF-8 text") from None


def merge(base: Node, over: Node) -> Node:
    """`over` merged over `base`: tables field by field, lists of tables with an `id` by that id; all else is
    replaced."""
    if isinstance(base, Table) and isinstance(over, Table):
        entries = dict(base.entries)
        for name, entry in over.entries.items():
            below = base.entries.get(name)
            entries[name] = Entry(entry.place, merge(below.node, entry.node)) if below else entry
        return Table(over.place, entries)
    if (
        isinstance(base, Items)
        and isinstance(over, Items)
        and all(text_at(n, "id") for n in (*base.nodes, *over.nodes))
    ):
        return Items(over.place, _merge_by_id(base.nodes, over.nodes))
    return over


def quoted(text: str) -> str:
    """A key for a message. Text behind a colon is left out: in `key:VALUE` the space may be missing."""
    name, colon, _ = text[:60].partition(":")
    return f"`{name}{colon}...`" if colon else f"`{name}`"


def scalars(node: Node) -> Iterator[Scalar]:
    """Every value of a document, each once, even with several aliases."""
    seen: set[int] = set()
    left = [node]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Scalar):
            yield node
        else:
            nodes = node.nodes if isinstance(node, Items) else [entry.node for entry in node.entries.values()]
            left.extend(reversed(nodes))


def below(node: Node, name: str) -> Node | None:
    """The value of a table's field; None without it."""
    entry = node.entries.get(name) if isinstance(node, Table) else None
    return entry.node if entry else None


def text_at(node: Node, name: str) -> str | None:
    """The text of a table's field; None without it, or where it is not a scalar."""
    entry = node.entries.get(name) if isinstance(node, Table) else None
    return entry.node.text if entry and isinstance(entry.node, Scalar) else None


def place_at(node: Node, name: str) -> Place:
    """The position of a table field's value; the table's own position without it."""
    entry = node.entries.get(name) if isinstance(node, Table) else None
    return entry.node.place if entry else node.place


def _merge_by_id(base: tuple[Node, ...], over: tuple[Node, ...]) -> tuple[Node, ...]:
    """Items of `base` in their order, merged with those of `over` with the same id, then the rest of `over`.

    Two items of `over` with the same id make two items, so that a later check finds the duplicate.
    """
    merged: list[Node] = []
    for node in base:
        namesakes = [other for other in over if text_at(other, "id") == text_at(node, "id")]
        merged += [merge(node, other) for other in namesakes] or [node]
    known = {text_at(node, "id") for node in base}
    return (*merged, *(node for node in over if text_at(node, "id") not in known))


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> str:
    place = _at(source, error.problem_mark or error.context_mark)
    # Quoted parts are removed, unless they are punctuation such as ',' or ']': a secret may look like an alias.
    what = re.sub(r" (?!'\W')['\"].*['\"]", "", error.problem or "is not YAML")
    block = "block scalar" in (error.context or "")
    right = 'quote a value that starts with ">", as in ">= 80%"' if block else "correct the YAML here"
    return f"{place}: {what}; {right}"


def _at(source: str, mark: yaml.Mark | None) -> Place:
    return Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)


class _TooDeep(yaml.MarkedYAMLError):
    """Raised while nodes are composed: PyYAML recurses in C, which crashes the process where it is too deep."""


class _Loader(yaml.CSafeLoader):
    """Counts the levels around a node, by the calls that follow the path to it."""

    _depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:
        if self._depth > DEEPEST:
            raise _TooDeep(problem_mark=current_node.start_mark if current_node else None)
        self._depth += 1

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _Builder:
    """Converts PyYAML's nodes; finds duplicate keys, loops and tags."""

    def __init__(self, source: str) -> None:
        self.problems: list[str] = []
        self._source = source
        self._built: dict[int, Node | None] = {}  # by id of PyYAML's node; None while it is built

    def build(self, node: yaml.Node) -> Node:
        place = self._place(node)
        if id(node) in self._built:
            known = self._built[id(node)]
            if known is None:
                self.problems.append(f"{place}: an alias refers to a value that contains it; write the value in full")
            return known or Scalar(place, "", "null")
        self._built[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            built: Node = Table(place, self._entries(node))
        elif isinstance(node, yaml.SequenceNode):
            built = Items(place, tuple(self.build(item) for item in node.value))
        else:
            built = self._scalar(cast(yaml.ScalarNode, node), place)
        self._built[id(node)] = built
        return built

    def _place(self, node: yaml.Node) -> Place:
        return _at(self._source, node.start_mark)

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar:
        kind = _KINDS.get(node.tag.removeprefix(_TAG))
        if kind is None:
            self.problems.append(f"{place}: YAML tags are not supported; write the plain value")
        return Scalar(place, node.value, kind or "null", quoted=bool(node.style))

    def _entries(self, node: yaml.MappingNode) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key, value in node.value:
            place = self._place(key)
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(f"{place}: a key is a list or a table; write a name")
            elif key.tag == f"{_TAG}merge":
                self.problems.append(f"{place}: merge keys (`<<`) are not supported; write the fields in full")
            elif key.value in entries:
                first = entries[key.value].place.line
                self.problems.append(f"{place}: duplicate key {quoted(key.value)}; the first one is on line {first}")
            else:
                entries[key.value] = Entry(place, self.build(value))
        return entries
