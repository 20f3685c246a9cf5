"""Whatever happens to an answer's words is seen, and nothing is seen where nothing happened."""

from hypothesis import given
from hypothesis import strategies as st

from tests.reliability.signed import signed, verdict

ONE, OTHER = signed("h1", "a", 12), signed("h2", "a", 12)
places = st.integers(0, 11)


@given(places)
def test_the_first_words_are_a_part(end: int) -> None:
    assert verdict("".join(ONE[:end])) == ("part" if end else "nothing")


def test_all_words_are_the_whole() -> None:
    assert verdict("".join(ONE)) == "whole"


@given(places, places)
def test_a_lost_word(lost: int, end: int) -> None:
    words = [word for place, word in enumerate(ONE[: end + 1]) if place != lost]
    assert verdict("".join(words)) == ("damaged" if lost < end else "part" if words else "nothing")


@given(places)
def test_a_word_that_comes_twice(place: int) -> None:
    assert verdict("".join([*ONE[: place + 1], ONE[place], *ONE[place + 1 :]])) == "damaged"


@given(st.integers(1, 11))
def test_words_of_another_answer(place: int) -> None:
    assert verdict("".join([*ONE[:place], *OTHER[place:]])) == "damaged"
    assert verdict("".join([*ONE[:place], *signed("h1", "b", 12)[place:]])) == "damaged"


@given(st.integers(0, len("".join(ONE)) - 2))
def test_a_lost_character(place: int) -> None:
    text = "".join(ONE)
    assert verdict(text[:place] + text[place + 1 :]) in ("damaged", "part") or text[place] == text[place + 1]


@given(st.text(min_size=1))
def test_other_text(text: str) -> None:
    assert verdict(text) == "damaged"
