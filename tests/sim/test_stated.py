import pytest

from gateway.sim.stated import stated_answer, stated_values

SCHEMA = {"properties": {"city": {"type": "string"}, "year": {"type": "integer"}, "open": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is 4817 + 2960? Reply with the number only.", "7777"),
        ("What is 12 - 20?", "-8"),
        ("What is 12 * 20?", "240"),
        ("wall The access code is 4711. door\n\nWhat is the access code?", "4711"),
        ("What is the access code?", None),
        ("The access code is 4711.", None),
        ("What is a hash table?", None),
    ],
)
def test_what_has_one_right_answer(text: str, answer: str | None) -> None:
    assert stated_answer(text) == answer


def test_values_have_the_types_of_the_schema() -> None:
    stated = stated_values("Save it: city=Oslo; year=1999; open=true; more=1", SCHEMA)
    assert stated == {"city": "Oslo", "year": 1999, "open": True}


def test_a_value_that_is_no_number_stays_a_text() -> None:
    assert stated_values("year=soon", SCHEMA) == {"year": "soon"}
