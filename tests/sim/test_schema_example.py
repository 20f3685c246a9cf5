from typing import Any

import jsonschema
import pytest

from gateway.sim.schema_example import example

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 2}}},
        {"type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "kind": {"const": 7}}, "required": ["kind"]},
        {"type": "array", "items": {"type": "number", "minimum": 4.5}, "minItems": 3},
        {"type": ["null", "string"]},
        {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
        {"type": "string", "minLength": 40},
        {"type": "string", "maxLength": 2},
        {"properties": {"implied": {}}, "required": ["implied"]},
        TREE,
        {},
    ],
)
def test_the_example_satisfies_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(example(schema), schema)


def test_a_schema_that_demands_itself_forever_ends() -> None:
    schema = {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]}
    assert isinstance(example(schema), dict)
