"""How deeply a JSON document is nested. Very deep ones can be parsed, but not always serialised again."""

from collections.abc import Iterable
from typing import Any

DEEPEST = 200  # levels
MOST_COUNTED = 1 << 15  # bytes of a document whose brackets are counted


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


def may_be_deeper(raw: bytes) -> bool:
    """Whether JSON may be nested deeper than `DEEPEST` levels. Where it is short, its brackets are counted, which is
    fast. True of longer JSON, and of empty bytes, which stand for JSON that is not known."""
    return not 0 < len(raw) <= MOST_COUNTED or raw.count(b"[") + raw.count(b"{") > DEEPEST
