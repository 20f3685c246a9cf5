"""JSON Schema in short: what the OpenAPI document is put together from."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

ANY: Schema = {}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
OBJECT: Schema = {"type": "object"}
NULL: Schema = {"type": "null"}
PRICE: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "USD per token"}
MOMENT: Schema = {"type": "string", "format": "date-time"}


def named(name: str) -> Schema:
    """One of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: str | int) -> Schema:
    return {"enum": list(values)}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, NULL]}


def several(schema: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": schema, **({"minItems": least} if least else {})}


def record(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object that has these fields, and may have more: hosts add their own."""
    schema: Schema = {"type": "object", "properties": {**fields, **(optional or {})}}
    return schema | {"required": list(fields)} if fields else schema


def exactly(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object that has these fields and no others."""
    return {**record(fields, optional), "additionalProperties": False}


def data(schema: Schema) -> Schema:
    """OpenRouter's envelope."""
    return exactly({"data": schema})


def about(text: str, schema: Schema) -> Schema:
    """With a description; beside a reference, 3.1 allows one."""
    return {**schema, "description": text}


def of_each(names: Sequence[str], schema: Schema) -> dict[str, Schema]:
    return dict.fromkeys(names, schema)
