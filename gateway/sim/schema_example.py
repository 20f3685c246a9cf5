"""A value that satisfies a simple JSON Schema, for tool arguments and structured answers.

Supported: type, properties, items, minItems, enum, const, default, anyOf, oneOf, allOf (the first one), local $ref,
minimum, maximum, minLength, maxLength. Anything else is ignored.
"""

import math
from typing import Any

Schema = dict[str, Any]
DEEPEST = 8  # recursion ends at this depth


def example(schema: Schema) -> Any:
    """The value; every property is filled in, required or not, down to `DEEPEST` levels."""
    return _value(schema, schema, "value", 0)


def _value(schema: Schema, root: Schema, name: str, depth: int) -> Any:
    schema = _resolved(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, name, depth)
    return _scalar(kind, schema, name)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follows local references and takes the first alternative."""
    for _ in range(DEEPEST):
        reference = schema.get("$ref", "")
        choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if reference.startswith("#/"):
            target: Any = root
            for part in reference[2:].split("/"):
                target = target.get(part, {})
            schema = target
        elif choices:
            schema = choices[0]
        else:
            break
    return schema


def _object(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    properties: dict[str, Schema] = schema.get("properties", {})
    wanted = properties if depth < DEEPEST else schema.get("required", ()) if depth < 2 * DEEPEST else ()
    return {name: _value(properties.get(name, {}), root, name, depth + 1) for name in wanted}


def _array(schema: Schema, root: Schema, name: str, depth: int) -> list[Any]:
    least = int(schema.get("minItems", 1 if depth < DEEPEST else 0))
    item: Schema = schema.get("items", {})
    return [_value(item, root, name, depth + 1) for _ in range(min(least, 100))]


def _scalar(kind: str, schema: Schema, name: str) -> Any:
    if kind == "null":
        return None
    if kind == "boolean":
        return True
    if kind in ("integer", "number"):
        return _number(kind, schema)
    text = f"{name} as requested"
    return text.ljust(int(schema.get("minLength", 0)), ".")[: int(schema.get("maxLength", len(text) + 1000))]


def _number(kind: str, schema: Schema) -> int | float:
    """The number nearest to 3 within the bounds."""
    number: int | float = min(max(3, schema.get("minimum", 3)), schema.get("maximum", math.inf))
    return math.floor(number) if kind == "integer" else number
