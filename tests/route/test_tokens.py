"""Bytes per token, and lengths of answers, learned from what hosts count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.posted import Posted
from gateway.route.tokens import (
    DEFAULT_LONGEST,
    DEFAULT_MEAN,
    FEWEST,
    MOST,
    PRIOR_SAMPLES,
    SURE,
    UNSURE,
    USUAL,
    Lengths,
    Tokens,
)


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


def test_bytes_and_doubt_in_figures() -> None:
    """A quarter of a token a byte and an error of 8 % count 10 prompts; an estimate may be 2.5 errors off."""
    tokens = taught(9_000, 3_000, times=1)
    assert tokens.bytes_per_token == [pytest.approx(11 / (1 / 3 + 10 / 4)), 4]
    assert tokens.doubt == [pytest.approx(2.5 * (0.25 + 10 * 0.08) / 11), pytest.approx(0.2)]
    one = taught(8_000, 2_000, times=1)
    for _ in range(29):
        one.learn(8_000, 2_000, False, 0.0)
    one.learn(16_000, 1_000, False, 0.0)
    one.merge([], 0.0)
    assert one.doubt[0] == pytest.approx(2.5 * (1.0 + 10 * 0.08) / 41), "an error is a whole one at most"


@pytest.mark.parametrize(
    ("size", "counted", "learned"),
    [(399, 200, False), (400, 200, True), (1_600, 100, True), (1_601, 100, False), (400, 400, True), (400, 401, False)],
)
def test_what_is_plausible_is_learned(size: int, counted: int, learned: bool) -> None:
    assert (taught(size, counted, times=1).bytes_per_token[0] != USUAL) is learned


def test_what_was_learned_shows_once_a_second() -> None:
    tokens = taught(9_000, 3_000, times=1)
    before = tokens.bytes_per_token[0]
    tokens.learn(9_000, 3_000, False, 0.9)
    assert tokens.bytes_per_token[0] == before
    tokens.learn(9_000, 3_000, False, 1.0)
    assert tokens.bytes_per_token[0] < before


def test_what_does_not_show_yet_is_shared_and_fades_from_when_it_came() -> None:
    tokens = taught(9_000, 3_000, times=1)
    tokens.learn(9_000, 3_000, False, 0.5)
    assert tokens.own(0.5)[0] == (67, 200)
    tokens.learn(9_000, 3_000, False, 0.9)
    assert tokens.own(3_600.9)[0][1] == pytest.approx(150, abs=1)


@given(st.lists(st.tuples(st.integers(400, 10**6), st.integers(0, 10**6), st.booleans()), max_size=30))
def test_doubt_is_bounded(heard: list[tuple[int, int, bool]]) -> None:
    tokens = Tokens()
    for at, (size, counted, tools) in enumerate(heard):
        tokens.learn(size, counted, tools, float(at))
    assert all(SURE <= one <= UNSURE for one in tokens.doubt)


# --- lengths of answers ------------------------------------------------------------------------------------------


def learned(*tokens: int) -> Lengths:
    lengths = Lengths()
    for count in tokens:
        lengths.add(count, 0.0)
    return lengths


def test_defaults_hold_until_something_was_seen() -> None:
    assert Lengths().expected(None, 0.0) == (DEFAULT_MEAN, DEFAULT_LONGEST)


def test_lengths_in_figures() -> None:
    """The usual mean counts 4 answers."""
    lengths = learned(*[1_000] * 8)
    (bucket,) = lengths._sketch.quantiles((0.5,))
    assert lengths.expected(None, 0.0)[0] == pytest.approx((8 * bucket + 4 * DEFAULT_MEAN) / 12)
    assert lengths.expected(400, 0.0) == (400, 400)
    assert lengths.expected(2_000, 0.0) == (pytest.approx((8 * bucket + 4 * DEFAULT_MEAN) / 12), 2_000)


def test_an_answer_shows_after_a_tenth_of_a_second_and_its_fading_after_ten() -> None:
    lengths = Lengths()
    lengths.expected(None, 0.0)
    lengths.add(60_000, 0.5)
    assert lengths.expected(None, 0.5) == (DEFAULT_MEAN, DEFAULT_LONGEST)
    learned = lengths.expected(None, 0.7)
    assert learned[0] > DEFAULT_MEAN
    assert lengths.expected(None, 10.6) == learned
    assert lengths.expected(None, 10.8)[0] < learned[0]
    lengths.merge([Posted(b"other", 0.0, 0.0, lengths.own(10.8))], 11.0)
    assert lengths.expected(None, 11.05)[0] < learned[0]
    assert lengths.expected(None, 11.2)[0] > learned[0]


def test_the_client_limits_both() -> None:
    assert Lengths().expected(100, 0.0) == (100, 100)


def test_a_few_short_answers_do_not_shorten_the_longest() -> None:
    mean, longest = learned(10, 10, 10).expected(None, 1.0)
    assert mean < DEFAULT_MEAN
    assert longest == DEFAULT_LONGEST


@pytest.mark.parametrize(("count", "longest"), [(19, DEFAULT_LONGEST), (20, 10)])
def test_20_short_answers_shorten_it(count: int, longest: float) -> None:
    assert learned(*[10] * count).expected(None, 0.0)[1] == pytest.approx(longest, rel=0.08)


def test_a_single_long_answer_lengthens_the_longest() -> None:
    assert learned(60_000).expected(None, 1.0)[1] == pytest.approx(60_000, rel=0.08)


def test_many_answers_outweigh_the_defaults() -> None:
    mean, longest = learned(*[1_000] * 95, *[4_000] * 5).expected(None, 1.0)
    assert mean == pytest.approx(1_150, rel=0.15)
    assert longest == pytest.approx(4_000, rel=0.08)


def test_lengths_fade() -> None:
    assert learned(*[1_000] * 100).expected(None, 1e6) == pytest.approx((DEFAULT_MEAN, DEFAULT_LONGEST))


def test_the_mean_follows_the_hour() -> None:
    """One answer a second: long ones for an hour, then short ones for twenty minutes."""
    lengths = Lengths()
    for second in range(3_600):
        lengths.add(2_000, float(second))
    assert lengths.expected(None, 3_600.0)[0] == pytest.approx(2_000, rel=0.08)
    for second in range(3_600, 4_800):
        lengths.add(200, float(second))
    mean, longest = lengths.expected(None, 4_800.0)
    assert mean < 700
    assert longest == pytest.approx(2_000, rel=0.08), "some are still that long"


def test_answers_elsewhere_count_here_and_once() -> None:
    there, here = learned(*[1_000] * 95, *[4_000] * 5), Lengths()
    for _ in range(3):
        here.merge([Posted(b"other", 0.0, 0.0, there.own(0.0))], 0.0)
    assert here.expected(None, 1.0) == pytest.approx(there.expected(None, 1.0))
    assert here.own(0.0) == {}, "and are not passed on"
    here.merge([], 2.0)
    assert here.expected(None, 4.0) == (DEFAULT_MEAN, DEFAULT_LONGEST)
