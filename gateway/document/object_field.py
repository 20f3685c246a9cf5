"""Fields of a JSON body that must be objects."""

from collections.abc import Mapping
from typing import Any

from gateway.errors import BadRequest


def object_field(of: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
    """The object `of[name]`; an empty one where it is missing or null. Raises BadRequest where it is something else.

    `where` is the path of `of`, with a trailing dot.
    """
    value = of.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadRequest(f"`{where}{name}` must be an object", param=f"{where}{name}")
    return value
