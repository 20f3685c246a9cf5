from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.text import pieces, sentences


@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.integers(0, 500), st.integers())
def test_sentences_have_the_requested_number_of_pieces(tokens: int, seed: int) -> None:
    prose = sentences(Random(seed), tokens)
    assert len(prose) == tokens
    assert "".join(prose).endswith("." if tokens else "")
