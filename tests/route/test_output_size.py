"""Tokens in what came of an answer without a count: learned from answers that have one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.output_size import MEMORY, OutputSize


def test_until_a_host_has_counted_a_delta_is_a_token_and_four_bytes_are_one() -> None:
    assert OutputSize().tokens(30, 0) == 30
    assert OutputSize().tokens(0, 400) == 100


def test_it_follows_the_hosts_own_deltas() -> None:
    model = OutputSize()
    one, other, new = OutputSize(model), OutputSize(model), OutputSize(model)
    for _ in range(100):
        one.learn(100, 60, 0)
        other.learn(60, 60, 0)
        other.learn(50, 0, 500)
    assert one.tokens(30, 0) == pytest.approx(50, abs=1)
    assert other.tokens(30, 0) == pytest.approx(30, abs=1)
    assert 30 < new.tokens(30, 0) < 50, "an endpoint of which nothing is known is like the others"
    assert other.tokens(0, 5_000) == pytest.approx(500, rel=0.01)
    assert new.tokens(0, 5_000) == pytest.approx(500, rel=0.1)


def test_a_host_that_changes_is_followed() -> None:
    size = OutputSize()
    size.learn(int(MEMORY), int(MEMORY), 0)
    for _ in range(300):
        size.learn(2_000, 1_000, 0)
    assert size.tokens(100, 0) == pytest.approx(200, rel=0.05)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))), st.integers(0, 10**6))
def test_more_deltas_are_never_fewer_tokens(learned: list[tuple[int, int, int]], deltas: int) -> None:
    size = OutputSize(OutputSize())
    for one in learned:
        size.learn(*one)
    assert 0 <= size.tokens(deltas, 0) <= size.tokens(deltas + 1, 0)
