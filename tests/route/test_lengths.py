"""Answer lengths: published guesses until enough answers were seen."""

import pytest

from gateway.route.lengths import DEFAULT_LONGEST, DEFAULT_MEAN, Lengths
from gateway.route.posted import Posted


def learned(*tokens: int) -> Lengths:
    lengths = Lengths()
    for count in tokens:
        lengths.add(count, 0.0)
    return lengths


def test_defaults_hold_until_something_was_seen() -> None:
    assert Lengths().expected(None, 0.0) == (DEFAULT_MEAN, DEFAULT_LONGEST)


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


def test_what_was_learned_fades() -> None:
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
