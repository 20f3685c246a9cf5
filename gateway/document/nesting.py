"""How deeply a JSON document is nested. Very deep ones can be parsed, but not always serialised again."""

from collections.abc import Iterable
from typing import Any

DEEPEST = 200  # levels


def is_deeper(parts: Iterable[Any], levels: int = DEEPEST) -> bool:
    """Whether one of these parsed JSON values is nested deeper than `levels`. Takes time in proportion to their
    size."""
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
