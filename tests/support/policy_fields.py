"""The fields of a policy, from its types: what its schema and its documentation must have."""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_type_hints

from gateway.types import Policy


def field_paths(cls: Any = Policy, above: str = "") -> Iterator[tuple[str, Any, "Field[Any]"]]:
    """Every field of a policy as (`score.value_of_time`, type hint, field), tables before their fields."""
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        yield f"{above}{field.name}", hints[field.name], field
        if is_dataclass(hints[field.name]):
            yield from field_paths(hints[field.name], f"{above}{field.name}.")
