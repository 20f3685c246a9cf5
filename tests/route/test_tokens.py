"""Bytes per token, learned from what hosts count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.posted import Posted
from gateway.route.tokens import FEWEST, MOST, PRIOR_SAMPLES, SURE, UNSURE, USUAL, Tokens


def taught(size: int, counted: int, times: int = 200, tools: bool = False) -> Tokens:
    tokens = Tokens()
    for at in range(times):
        tokens.learn(size, counted, tools, float(at))
    return tokens


def test_until_a_host_has_counted_a_token_has_four_bytes() -> None:
    assert Tokens().count(4_000, False) == 1_000
    assert Tokens().count(4_001, True) == 1_001
    assert Tokens().count(0, False) == 0


def test_it_comes_to_what_hosts_count() -> None:
    assert taught(9_000, 3_000).count(90_000, False) == pytest.approx(30_000, rel=0.02)


def test_one_prompt_moves_it_little() -> None:
    assert taught(9_000, 3_000, times=1).count(40_000, False) < 40_000 / USUAL * (1 + 1 / PRIOR_SAMPLES)


def test_prompts_with_tools_are_learned_apart() -> None:
    tokens = taught(9_000, 3_000, tools=True)
    assert tokens.count(9_000, True) > tokens.count(9_000, False) == 2_250


@pytest.mark.parametrize(("size", "counted"), [(300, 100), (9_000, 0), (9_000, 20_000), (9_000, 100), (0, 0)])
def test_what_says_nothing_is_not_learned(size: int, counted: int) -> None:
    assert taught(size, counted).count(4_000, False) == 1_000


def test_what_was_learned_fades() -> None:
    tokens = taught(9_000, 3_000)
    for hour in range(1, 30):
        tokens.learn(10_000, 2_000, False, hour * 3_600.0)
    assert tokens.bytes_per_token[0] > 4


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.booleans(), st.floats(0, 1e6))))
def test_whatever_hosts_count_it_stays_plausible(heard: list[tuple[int, int, bool, float]]) -> None:
    tokens = Tokens()
    for size, counted, tools, now in heard:
        tokens.learn(size, counted, tools, now)
    assert all(FEWEST <= one <= MOST for one in tokens.bytes_per_token)
    assert tokens.count(1_000, False) <= tokens.count(1_001, False)


def posted(tokens: Tokens, age: float = 0.0, name: bytes = b"other") -> Posted[tuple[tuple[int, int], ...]]:
    return Posted(name, 0.0, age, tokens.own(200.0))


def test_what_hosts_counted_elsewhere_counts_here_and_once() -> None:
    one, here = taught(9_000, 3_000, times=100), Tokens()
    for _ in range(3):
        here.merge([posted(one)], 200.0)
    assert here.bytes_per_token[0] == pytest.approx(one.bytes_per_token[0], rel=0.01)
    assert here.bytes_per_token[1] == USUAL
    assert here.own(200.0) == ((0, 0), (0, 0)), "and is not passed on"


def test_own_and_others_weigh_by_their_samples() -> None:
    here = taught(9_000, 3_000, times=100)
    here.merge([posted(taught(8_000, 4_000, times=100))], 200.0)
    assert here.bytes_per_token[0] == pytest.approx(2.4, rel=0.05)
    here.merge([], 200.0)
    assert here.bytes_per_token[0] > 2.9, "a worker that writes no more is forgotten"


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=2, max_size=2), st.floats(0, 60))
def test_whatever_others_say_it_stays_plausible(shares: list[tuple[int, int]], age: float) -> None:
    tokens = Tokens()
    tokens.merge([Posted(b"other", 0.0, age, shares)], 100.0)
    assert all(FEWEST <= one <= MOST for one in tokens.bytes_per_token)


def test_how_far_off_an_estimate_may_be_follows_how_far_off_they_were() -> None:
    assert Tokens().doubt == [0.2, 0.2]
    exact, wild = Tokens(), Tokens()
    for at in range(200):
        exact.learn(8_000, 2_000, False, float(at))
        wild.learn(8_000, 1_200 if at % 2 else 3_000, False, float(at))
    assert exact.doubt == [pytest.approx(0.05, abs=0.01), 0.2]
    assert wild.doubt[0] == UNSURE


@given(st.lists(st.tuples(st.integers(400, 10**6), st.integers(0, 10**6), st.booleans()), max_size=30))
def test_doubt_is_bounded(heard: list[tuple[int, int, bool]]) -> None:
    tokens = Tokens()
    for at, (size, counted, tools) in enumerate(heard):
        tokens.learn(size, counted, tools, float(at))
    assert all(SURE <= one <= UNSURE for one in tokens.doubt)
