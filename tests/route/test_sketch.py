"""Quantiles are right to 8 %, old samples fade, and no silence is too long."""

from math import ceil, log, sqrt
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.sketch import LOWEST, Rate, Sketch

samples = st.lists(st.floats(LOWEST, 100_000.0), min_size=1, max_size=200)
shares = st.floats(0.01, 1.0)


def filled(values: list[float], now: float = 0.0) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value, now)
    return sketch


@given(samples, shares)
def test_quantiles_are_right_to_8_percent(values: list[float], share: float) -> None:
    true = sorted(values)[max(0, ceil(share * len(values) - 1e-9) - 1)]
    assert filled(values).quantiles([share]) == [pytest.approx(true, rel=0.08)]


@given(samples, samples, shares, shares)
def test_every_sample_counts_whatever_was_read_before(
    first: list[float], then: list[float], one: float, other: float
) -> None:
    asked = filled(first)
    asked.quantiles([one])
    for value in then:
        asked.add(value, 0.0)
    for share in (one, other, one):
        assert asked.quantiles([share]) == filled(first + then).quantiles([share])


@given(samples)
def test_the_mean_is_right_to_8_percent(values: list[float]) -> None:
    assert filled(values).mean() == pytest.approx(sum(values) / len(values), rel=0.08)


@given(samples)
def test_logarithms_are_right_to_8_percent(values: list[float]) -> None:
    logs = [log(value) for value in values]
    mean, variance = filled(values).log_moments()
    assert mean == pytest.approx(fmean(logs), abs=0.08)
    assert sqrt(variance) == pytest.approx(pstdev(logs), abs=0.08)


@given(samples, st.floats(LOWEST, 100_000.0))
def test_what_is_larger_is_found_to_within_a_bucket(values: list[float], limit: float) -> None:
    mean, count = filled(values).beyond(limit, 0.0)
    assert sum(value > 1.16 * limit for value in values) <= round(count, 6) <= sum(value > limit for value in values)
    assert mean > limit if count else mean == 0


@given(samples, st.floats(0.0, 1e9))
def test_after_each_half_life_samples_count_half(values: list[float], start: float) -> None:
    sketch = filled(values, start)
    assert sketch.count(start) == pytest.approx(len(values))
    assert sketch.count(start + 600.0) == pytest.approx(len(values) / 2)
    assert sketch.count(start + 6_000.0) == pytest.approx(len(values) / 1024)


@given(st.lists(st.tuples(st.floats(0.0, 1e7), st.floats(0.001, 1000.0)), min_size=1, max_size=50))
def test_no_pause_is_too_long(steps: list[tuple[float, float]]) -> None:
    sketch, now = Sketch(), 0.0
    for pause, value in steps:
        now += pause
        sketch.add(value, now)
        assert 1.0 <= sketch.count(now) <= len(steps) + 1e-6
        assert sketch.quantiles([1.0])[0] > 0


def test_what_happened_lately_outweighs_what_was() -> None:
    sketch = filled([10.0] * 100)
    for _ in range(10):
        sketch.add(1.0, now=6_000.0)
    assert sketch.quantiles([0.5, 0.9]) == [pytest.approx(1.0, rel=0.08)] * 2


def test_nothing_is_known_at_first_and_after_a_year_of_silence() -> None:
    sketch = Sketch()
    assert (sketch.count(0.0), sketch.quantiles([0.5]), sketch.mean()) == (0.0, [0.0], 0.0)
    sketch.add(5.0, 0.0)
    assert sketch.count(365 * 86_400.0) == 0.0
    assert sketch.quantiles([0.5]) == [0.0]


def test_values_outside_the_buckets_count_in_the_first_and_the_last() -> None:
    low, high = filled([0.0]).quantiles([1.0])[0], filled([1e12]).quantiles([1.0])[0]
    assert low == LOWEST
    assert high > 100_000


def test_a_rate_starts_from_its_prior_and_moves_to_what_is_seen() -> None:
    rate = Rate(half_life=60.0)
    assert rate.share(0.0, prior=0.9, strength=10.0) == pytest.approx(0.9)
    for _ in range(1_000):
        rate.add(False, 0.0)
    assert rate.share(0.0, prior=0.9, strength=10.0) < 0.01


def test_a_rate_fades_back_to_its_prior() -> None:
    rate = Rate(half_life=60.0)
    for _ in range(8):
        rate.add(False, 0.0)
    assert rate.count(60.0) == pytest.approx(4.0)
    assert rate.share(6_000.0, prior=0.9, strength=10.0) == pytest.approx(0.9)


@given(st.integers(1, 500), st.floats(2.0, 100.0))
def test_evidence_is_bounded_and_newer_samples_count_more(before: int, most: float) -> None:
    rate = Rate(half_life=60.0, most=most)
    for _ in range(before):
        rate.add(1.0, 0.0)
    assert rate.count(0.0) == pytest.approx(min(before, most))
    for _ in range(round(3 * most)):
        rate.add(0.0, 0.0)
    assert rate.count(0.0) <= most + 1e-9
    assert rate.share(0.0, 0.0, 0.0) < 0.1


@given(st.lists(st.booleans(), min_size=1, max_size=10), st.integers(0, 60), st.floats(0.0, 1e3))
def test_samples_of_one_moment_may_be_counted_together(ends: list[bool], before: int, pause: float) -> None:
    together, apart = Rate(60.0, most=40.0), Rate(60.0, most=40.0)
    for rate in (together, apart):
        for _ in range(before):
            rate.add(True, 0.0)
    together.add_all(sum(ends), len(ends), pause)
    for good in ends:
        apart.add(good, pause)
    assert together.count(pause) == pytest.approx(apart.count(pause))
    assert together.share(pause, 0.5, 1.0) == pytest.approx(apart.share(pause, 0.5, 1.0), abs=0.03)


def test_more_samples_together_than_a_rate_holds_count_by_their_mean() -> None:
    rate = Rate(60.0, most=40.0)
    rate.add(True, 0.0)
    rate.add_all(25.0, 100.0, 0.0)
    assert (rate.sum(0.0), rate.count(0.0)) == (10.0, 40.0)


def test_a_rate_is_the_mean_of_any_figure() -> None:
    rate = Rate(half_life=60.0)
    for value in (-3.0, 1.0):
        rate.add(value, 0.0)
    assert (rate.sum(0.0), rate.count(0.0)) == (-2.0, 2.0)
    assert rate.share(0.0, prior=0.5, strength=2.0) == pytest.approx(-0.25)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 1e6)), max_size=30), st.floats(0.0, 1.0))
def test_a_share_is_a_share(ends: list[tuple[bool, float]], prior: float) -> None:
    rate, now = Rate(half_life=60.0), 0.0
    for good, pause in ends:
        now += pause
        rate.add(good, now)
        assert 0.0 <= rate.share(now, prior, 1.0) <= 1.0


@given(st.lists(samples, min_size=1, max_size=4), st.floats(0.0, 1e4), st.floats(0.0, 600.0))
def test_what_is_merged_counts_like_what_is_measured(all_values: list[list[float]], later: float, age: float) -> None:
    """However the samples are spread over workers, whose clocks differ by `later`."""
    seen, mine = filled([value for values in all_values for value in values]), filled(all_values[0], later)
    told = [filled(values).own(0.0) for values in all_values[1:]]
    mine.merge([(counts, 0.0) for counts in told], later)
    assert mine.count(later + age) == pytest.approx(seen.count(age), rel=1e-6)
    assert mine.quantiles([0.4877, 0.9531]) == seen.quantiles([0.4877, 0.9531])  # no sample is exactly there
    assert mine.mean() == pytest.approx(seen.mean(), rel=1e-6)


def test_what_is_merged_fades_from_when_it_was_published() -> None:
    sketch = Sketch(half_life=600.0)
    sketch.merge([(filled([1.0] * 8).own(0.0), 600.0)], 0.0)
    assert sketch.count(0.0) == pytest.approx(4.0)
    assert sketch.count(600.0) == pytest.approx(2.0)
    assert sketch.count(100_000.0) == pytest.approx(0.0, abs=1e-6)


def test_what_is_merged_is_replaced_and_never_counted_again() -> None:
    sketch, told = filled([1.0] * 4), filled([2.0] * 8).own(0.0)
    before = sketch.own(0.0)
    for _ in range(3):
        sketch.merge([(told, 0.0)], 0.0)
    assert sketch.count(0.0) == pytest.approx(12.0)
    assert sketch.own(0.0) == before
    sketch.merge([], 0.0)
    assert sketch.count(0.0) == pytest.approx(4.0)


def test_a_rate_hears_too() -> None:
    rate, other = Rate(half_life=60.0), Rate(half_life=60.0)
    rate.add(True, 0.0)
    for _ in range(4):
        other.add(False, 0.0)
    for _ in range(3):
        rate.merge([(other.own(0.0), 60.0), (other.own(0.0), 0.0)], 0.0)
    assert rate.own(0.0) == (100, 100), "sum and count, in hundredths"
    assert rate.count(0.0) == pytest.approx(7.0)
    assert rate.share(0.0, 1.0, 0.0) == pytest.approx(1 / 7)
    assert rate.count(60.0) == pytest.approx(3.5)
    rate.merge([], 60.0)
    assert rate.count(60.0) == pytest.approx(0.5)
