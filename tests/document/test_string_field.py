"""Fields of a body that must be strings: anything else, and a missing one, is the client's error."""

import pytest

from gateway.document.string_field import string_field
from gateway.errors import BadRequest


@pytest.mark.parametrize("text", ["", "hi"])
def test_a_string_is_itself(text: str) -> None:
    assert string_field({"id": text}, "id") == text


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": 1}, {"id": ["a"]}])
@pytest.mark.parametrize(("where", "path"), [("", "id"), ("input[2].", "input[2].id")])
def test_any_other_value_is_an_error_that_names_the_field(body: dict[str, object], where: str, path: str) -> None:
    with pytest.raises(BadRequest) as error:
        string_field(body, "id", where)
    assert str(error.value) == f"`{path}` must be a string"
    assert error.value.param == path
