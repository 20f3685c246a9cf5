"""Two memories of one quantity: the level is 1 in quiet times, follows a change within 40 samples, and forgives it."""

from math import exp, inf, log, sqrt
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.sketch import LOWEST
from gateway.route.trend import (
    LEAST_VARIANCE,
    MOST_RECENT,
    NOISE,
    PRIOR_SAMPLES,
    Estimate,
    Trend,
    add_recent,
    blend,
    blend_logs,
    level,
)

SCATTER = 0.5  # standard deviation of the logarithm
seeds = st.sampled_from(range(100))  # what is said of noise holds for these


class Samples:
    """A quantity that scatters around a median, one sample a second."""

    def __init__(self, seed: int, median: float = 1.0, scatter: float = SCATTER) -> None:
        self._random = Random(seed)
        self._median, self._scatter = median, scatter
        self.trend = Trend()
        self.now = 0.0

    def come(self, count: int, factor: float = 1.0) -> "Samples":
        for _ in range(count):
            self.now += 1
            value = factor * self._median * exp(self._random.gauss(0, self._scatter))
            self.trend.usual.add(value, self.now)
            add_recent([self.trend], 0, value, self.now)
        return self

    def level(self, later: float = 0.0) -> float:
        now = self.now + later
        return level([(self.trend, *self._logs(now))], now)

    def median(self) -> float:
        """As it is now, over what it was at first."""
        return exp(self._logs(self.now)[0]) * self.level() / self._median

    def _logs(self, now: float) -> tuple[float, float]:
        return self.trend.logs(self.trend.usual.count(now), log(self._median), self._scatter**2)


def test_without_samples_nothing_has_changed() -> None:
    assert level([(Trend(), 0.0, 1.0)], 0.0) == 1
    assert level([], 0.0) == 1


def test_a_level_in_figures() -> None:
    """What is beyond 1.5 standard errors; trends weigh by their samples over their variance."""
    idle, wide, narrow = Trend(), Trend(), Trend()
    for _ in range(10):
        add_recent([wide, narrow], 0, exp(2.0), 0.0)
    for _ in range(5):
        add_recent([wide, narrow], 1, exp(1.0), 0.0)
    trends = [(idle, 9.0, 1.0), (wide, 1.0, 0.25), (narrow, 0.5, 0.0)]
    evidence = 10 / 0.25 + 5 / LEAST_VARIANCE
    change = (10 * 1.0 / 0.25 + 5 * 0.5 / LEAST_VARIANCE) / evidence
    assert log(level(trends, 0.0)) == pytest.approx(change - NOISE / sqrt(evidence))
    faster = [(trend, mean + 2 * change, variance) for trend, mean, variance in trends]
    assert log(level(faster, 0.0)) == pytest.approx(NOISE / sqrt(evidence) - change)
    near = [(trend, mean + change - 0.04, variance) for trend, mean, variance in trends]
    assert level(near, 0.0) == 1, "within what is noise"


def test_what_is_usual_in_figures() -> None:
    trend = Trend()
    assert trend.logs(0.0, 1.0, 0.5) == (1.0, 0.5)
    for _ in range(5):
        trend.usual.add(9.0, 0.0)
    mean, scatter = trend.usual.log_moments()
    assert trend.logs(5.0, 1.0, 0.5) == pytest.approx(((5 * mean + 3 * 1.0) / 8, (5 * scatter + 3 * 0.5) / 8))


def test_the_oldest_of_40_recent_samples_make_room() -> None:
    trends = Trend(), Trend()
    for number in range(60):
        add_recent(trends, number % 2, 1.0, 0.0)
        assert sum(trend.recent.count(0.0) for trend in trends) == pytest.approx(min(number + 1, MOST_RECENT))
    add_recent(trends, 0, 0.0, 0.0)
    assert trends[0].recent.sum(0.0) == log(LOWEST), "as low as any sample"


@given(seeds, st.integers(1, 300), st.floats(0.01, 100.0))
def test_the_level_stays_1_within_chance(seed: int, count: int, median: float) -> None:
    found = Samples(seed, median).come(count)
    evidence = found.trend.recent.count(found.now)
    beyond = abs(log(found.level())) / SCATTER * evidence**0.5  # standard errors, 1.5 of which were left out
    assert beyond < 3


def test_the_level_is_exactly_1_most_of_the_time() -> None:
    found = Samples(seed=1).come(500)
    levels = [found.come(10).level() for _ in range(200)]
    assert sum(one == 1.0 for one in levels) > 140
    assert 0.8 < min(levels) <= max(levels) < 1.25


@pytest.mark.parametrize("factor", [1 / 3, 1 / 2, 2.0, 3.0])
def test_a_change_shows_within_40_samples_and_is_known_after_120(factor: float) -> None:
    soon, later = [], []  # how much of the change is seen, in logarithms
    for seed in range(40):
        changed = Samples(seed).come(300)
        soon.append(log(changed.come(40, factor).median()) / log(factor))
        later.append(log(changed.come(80, factor).median()) / log(factor))
    assert 0.25 < min(soon) <= median(soon) < max(soon) < 0.8
    assert median(soon) > 0.4
    assert 0.5 < min(later) <= median(later) < max(later) < 1.1
    assert median(later) > 0.7


@given(seeds, st.floats(1.5, 20.0), st.booleans())
def test_without_samples_a_change_is_forgiven_within_minutes(seed: int, factor: float, faster: bool) -> None:
    changed = Samples(seed).come(300).come(40, 1 / factor if faster else factor)
    distances = [abs(log(changed.level(later))) for later in range(0, 901, 60)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == 0


@given(seeds)
def test_what_is_usual_keeps_its_tail_through_a_change(seed: int) -> None:
    found = Samples(seed).come(2_000)
    before = found.trend.usual.quantiles((0.5, 0.99))
    found.come(40, 3.0)
    median, slowest = found.trend.usual.quantiles((0.5, 0.99))
    assert found.trend.usual.count(found.now) > 1_000
    assert median == pytest.approx(before[0], rel=0.16), "at most one bucket further"
    assert before[1] * 0.99 <= slowest < 2.2 * before[1]


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 1e6), st.floats(0.0, 100.0)), max_size=200))
def test_trends_that_share_a_level_share_a_bounded_memory(history: list[tuple[int, float, float]]) -> None:
    trends, now = [Trend() for _ in range(3)], 0.0
    for place, value, pause in history:
        now += pause
        add_recent(trends, place, value, now)
        assert sum(trend.recent.count(now) for trend in trends) <= MOST_RECENT + 1e-6


def test_what_one_trend_shows_holds_for_all_that_share_its_level() -> None:
    small, large = Trend(), Trend()
    for _ in range(40):
        add_recent([small, large], 0, 3.0, 0.0)
    assert level([(small, 0.0, 0.25), (large, log(9.0), 0.25)], 0.0) == pytest.approx(3.0, rel=0.15)
    for _ in range(40):
        add_recent([small, large], 1, 9.0, 0.0)
    assert level([(small, 0.0, 0.25), (large, log(9.0), 0.25)], 0.0) == pytest.approx(1.4, rel=0.2)


@given(st.floats(0.0, 100.0), st.floats(0.0, 1e4), st.floats(0.0, 100.0))
def test_what_is_published_counts_like_a_few_samples(measured: float, count: float, prior: float) -> None:
    found = blend(measured, count, prior)
    assert min(measured, prior) - 1e-9 <= found <= max(measured, prior) + 1e-9
    assert blend(measured, 0.0, prior) == pytest.approx(prior)
    assert blend(measured, PRIOR_SAMPLES, prior) == pytest.approx((measured + prior) / 2)


@given(st.floats(0.01, 100.0), st.floats(0.0, 1e4), st.floats(0.01, 100.0))
def test_what_scatters_by_factors_is_blended_in_logarithms(measured: float, count: float, prior: float) -> None:
    assert log(blend_logs(measured, count, prior)) == pytest.approx(blend(log(measured), count, log(prior)), abs=1e-9)


def test_without_samples_the_published_figure_is_all_there_is() -> None:
    assert blend_logs(inf, 0.0, 2.0) == 2.0


# --- shares ------------------------------------------------------------------------------------------------------


NOW = 1_000.0
PRIOR, STRENGTH = 0.99, 10.0


def estimate(*runs: tuple[int, float], pause: float = 0.0) -> Estimate:
    """After runs of so many equal samples, one in every `pause` seconds, the last of them at `NOW`."""
    made = Estimate(recent=60.0, most=40.0, usual=3_600.0, strength=10.0)
    samples = [share for count, share in runs for _ in range(count)]
    for number, share in enumerate(samples, start=1):
        made.add(share, NOW - pause * (len(samples) - number))
    return made


def share(of: Estimate, later: float = 0.0) -> float:
    return of.share(NOW + later, PRIOR, STRENGTH)


def test_without_samples_what_is_published_holds() -> None:
    assert share(estimate()) == PRIOR


def test_a_share_in_figures() -> None:
    """What is published counts 10 samples of what is usual, which counts 10 recent ones."""
    made = estimate((10, 0.0), (5, 1.0))
    usual = (5 + PRIOR * STRENGTH) / (15 + STRENGTH)
    assert share(made) == pytest.approx((5 + 10 * usual) / (15 + 10))
    many = estimate((100, 0.0))
    assert share(many) == pytest.approx(10 * (PRIOR * STRENGTH / 110) / (40 + 10)), "of the 40 last"


@given(st.integers(0, 1_500), st.booleans())
def test_a_change_shows_however_many_samples_came_before(count: int, good: bool) -> None:
    made = estimate((count, good))
    before, moved = share(made), []
    for _ in range(100):
        made.add(not good, NOW)
        moved.append(abs(share(made) - before))
    assert moved == sorted(moved)
    if good or count > 40:
        assert moved[19] > 0.3
        assert moved[39] > 0.5
        assert moved[99] > 0.7


@given(st.integers(500, 2_000), st.integers(1, 40))
def test_what_was_never_so_before_is_forgiven_within_minutes(good: int, bad: int) -> None:
    made = estimate((good, 1.0), (bad, 0.0))
    over_time = [share(made, later) for later in range(0, 601, 60)]
    assert over_time == sorted(over_time)
    assert over_time[-1] > 0.9


@given(st.integers(100, 2_000))
def test_what_was_never_otherwise_is_not_forgiven(bad: int) -> None:
    made = estimate((bad, 0.0))
    assert share(made, 600) < 0.15
    assert share(made, 1_800) < 0.15


def test_after_a_day_only_what_is_published_is_left() -> None:
    assert share(estimate((100, 0.0)), 86_400) == pytest.approx(PRIOR, abs=0.001)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.floats(0.0, 1.0)), max_size=5), st.floats(0.0, 10.0), st.floats(0.0, 1e5)
)
def test_a_share_is_a_share(runs: list[tuple[int, float]], pause: float, later: float) -> None:
    assert 0 <= share(estimate(*runs, pause=pause), later) <= 1
