"""Fields of a JSON body that must be strings."""

from collections.abc import Mapping
from typing import Any

from gateway.errors import BadRequest


def string_field(of: Mapping[str, Any], name: str, where: str = "") -> str:
    """The string `of[name]`. Raises BadRequest where it is missing or something else.

    `where` is the path of `of`, with a trailing dot.
    """
    value = of.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"`{where}{name}` must be a string", param=f"{where}{name}")
    return value
