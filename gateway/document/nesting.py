"""How deep a JSON document is nested. What is very deep can be read, but not always be written again."""

from collections.abc import Iterable
from typing import Any

DEEPEST = 200  # levels


def is_deeper(parts: Iterable[Any], levels: int = DEEPEST) -> bool:
    """Whether one of these values, as JSON is read to Python, is nested deeper than so many levels. It takes time as
    they have parts."""
    level = [part for part in parts if type(part) is dict or type(part) is list]
    for _ in range(levels):
        inner: list[Any] = []
        for one in level:
            parts = one.values() if type(one) is dict else one
            inner += [part for part in parts if type(part) is dict or type(part) is list]
        if not inner:
            return False
        level = inner
    return True
