from random import Random

import pytest

from gateway.probe.fingerprint import compared, prompt

SAME = "One two three four five six seven eight nine ten eleven twelve, and then something else."


@pytest.mark.parametrize(
    ("answers", "agree"),
    [
        ({}, {}),
        ({"a": SAME}, {}),
        ({"a": SAME, "b": SAME}, {}),  # two of two are no majority that says something
        ({"a": SAME, "b": SAME, "c": SAME}, {"a": True, "b": True, "c": True}),
        ({"a": SAME, "b": SAME, "c": SAME, "d": "No."}, {"a": True, "b": True, "c": True, "d": False}),
        ({"a": SAME, "b": SAME, "c": SAME, "d": "No.", "e": "No.", "f": "No."}, {}),  # half is not a majority
    ],
)
def test_the_majority_decides(answers: dict[str, str], agree: dict[str, bool]) -> None:
    assert compared(answers) == agree


def test_only_the_first_words_count_and_neither_case_nor_punctuation() -> None:
    other = SAME.upper().replace(",", ";").replace("ELSE", "DIFFERENT")
    assert compared({"a": SAME, "b": SAME, "c": SAME, "d": other})["d"]


def test_a_round_has_one_question_at_temperature_0() -> None:
    asked = [prompt(Random(seed)) for seed in range(50)]
    assert {one["temperature"] for one in asked} == {0}
    assert len({one["messages"][0]["content"] for one in asked}) > 3
