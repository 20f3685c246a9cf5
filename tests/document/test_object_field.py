"""Fields of a body that must be objects: missing and null are empty, anything else is the client's error."""

import pytest

from gateway.document.object_field import object_field
from gateway.errors import BadRequest


@pytest.mark.parametrize("body", [{}, {"reasoning": None}, {"reasoning": {}}])
def test_a_missing_object_is_empty(body: dict[str, object]) -> None:
    assert object_field(body, "reasoning") == {}


def test_an_object_is_itself() -> None:
    inner = {"effort": "high"}
    assert object_field({"reasoning": inner}, "reasoning") is inner


@pytest.mark.parametrize("value", [0, 1, "", "high", [], [{}], False, True])
@pytest.mark.parametrize(("where", "path"), [("", "input"), ("messages[2].", "messages[2].input")])
def test_any_other_value_is_an_error_that_names_the_field(value: object, where: str, path: str) -> None:
    with pytest.raises(BadRequest) as error:
        object_field({"input": value}, "input", where)
    assert str(error.value) == f"`{path}` must be an object"
    assert error.value.param == path
