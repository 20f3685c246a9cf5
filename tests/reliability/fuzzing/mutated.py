"""Inputs that are almost right: examples with a few changes, as bytes and as trees of JSON.

corpus ──one──> edits: insert, replace, delete, repeat, splice ──> bytes
corpus ──one──> a value at a random path becomes another one    ──> JSON
"""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

FARTHEST = 1 << 16  # places in a text are taken modulo its length
LONGEST = 1 << 16  # bytes of a text after its edits
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.1, -0.5, 1e308, "", " ", "\0", "a" * 300),
    *("\ud800", "é", "😀", "null", "true", "1", "-1", "1e9", "NaN", [], {}, [[]], [{}], {"": None}, {"a": 1}, [1, "a"]),
)
edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "repeat", "splice"]),
        st.integers(0, FARTHEST),
        st.integers(0, 40),
        st.integers(0, 1 << 20),
    ),
    max_size=5,
)


def mutated_bytes(corpus: Sequence[bytes], words: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the corpus after some edits, with words of its language or any byte put in."""
    pieces = tuple(words) + tuple(bytes([number]) for number in range(256))
    return st.builds(lambda text, changes: _edited(text, changes, corpus, pieces), st.sampled_from(corpus), edits)


def _edited(
    text: bytes, changes: list[tuple[str, int, int, int]], corpus: Sequence[bytes], pieces: Sequence[bytes]
) -> bytes:
    for how, place, length, chosen in changes:
        start = place % (len(text) + 1)
        end = min(len(text), start + length)
        if how == "insert":
            text = text[:start] + pieces[chosen % len(pieces)] + text[start:]
        elif how == "replace":
            text = text[:start] + pieces[chosen % len(pieces)] + text[end:]
        elif how == "delete":
            text = text[:start] + text[end:]
        elif how == "repeat":
            text = text[:end] + text[start:end] * (chosen % 50) + text[end:]
        else:
            other = corpus[chosen % len(corpus)]
            text = text[:start] + other[place % (len(other) + 1) :]
    return text[:LONGEST]


def mutated_trees(
    corpus: Sequence[Any], values: Sequence[Any] = (), keys: Sequence[str] = ()
) -> st.SearchStrategy[Any]:
    """One of these JSON values in which some parts became others: odd ones, `values`, or under other `keys`."""
    every, names = (*ODD, *values), tuple(keys) or ("a",)
    changes = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 20), st.integers(0, 3)), max_size=4)
    return st.builds(lambda tree, all_: _changed(tree, all_, every, names), st.sampled_from(corpus), changes)


def _changed(tree: Any, changes: list[tuple[int, int, int]], values: Sequence[Any], keys: Sequence[str]) -> Any:
    tree = json.loads(json.dumps(tree))
    for place, chosen, how in changes:
        paths = list(_paths(tree, ()))
        path = paths[place % len(paths)]
        value = values[chosen % len(values)]
        inside = (*path, keys[chosen % len(keys)])
        tree = _with(tree, path if how else inside, value)
    return tree


def _paths(tree: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The path of every value in it, its own first."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for key, value in inside for found in _paths(value, (*path, key)))]


def _with(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The tree with this value there; where there is no such place, with the value in place of what is on the way."""
    if not path:
        return value
    key, *rest = path
    if isinstance(tree, dict) and isinstance(key, str):
        return {**tree, key: _with(tree.get(key), tuple(rest), value)}
    if isinstance(tree, list) and isinstance(key, int) and key < len(tree):
        return [*tree[:key], _with(tree[key], tuple(rest), value), *tree[key + 1 :]]
    return value
