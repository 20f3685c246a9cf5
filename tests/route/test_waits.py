"""Times to first token: every size of prompt says something about the others, and a change of one shows in all."""

from itertools import pairwise
from math import exp, log, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.peers import NO_PEERS, FleetMedians
from gateway.route.trend import LEAST_VARIANCE, level
from gateway.route.waits import (
    BASE,
    DEFAULT_TTFT,
    ENOUGH,
    MIDDLES,
    PREFILL,
    SHARES,
    TYPICAL,
    Waits,
    scale,
    size_class,
)
from gateway.types import Priors
from tests.route.world import NOW, seconds

NOTHING = Priors()
SMALL, LARGE = 1_000.0, 50_000.0  # uncached tokens


class Host:
    """Answers one request a second, whose times to first token scatter around a median."""

    def __init__(self, ttft: float = 1.0, scatter: float = 0.4, priors: Priors = NOTHING) -> None:
        self._random = Random(1)
        self._ttft, self._scatter, self._priors = ttft, scatter, priors
        self.now = NOW
        self.waits = Waits()
        self.waits.refresh(NOW, priors)

    def answers(self, count: int, uncached: float = SMALL, factor: float = 1.0, in_flight: int = 1) -> Waits:
        """So many times as slow as usual."""
        for _ in range(count):
            self.now += 1
            ttft = factor * self._ttft * scale(uncached) / scale(SMALL) * exp(self._random.gauss(0, self._scatter))
            self.waits.began(ttft, uncached, in_flight, self.now)
            self.waits.ended(ttft, uncached, in_flight, self.now)
        return self.after(0)

    def after(self, pause: float) -> Waits:
        self.now += pause
        self.waits.refresh(self.now, self._priors)
        return self.waits


def unknown(priors: Priors = NOTHING, peers: FleetMedians = NO_PEERS) -> Waits:
    waits = Waits()
    waits.refresh(NOW, priors, peers)
    return waits


@pytest.mark.parametrize(("count", "known"), [(19, False), (20, True)])
def test_20_answers_to_prompts_of_a_size_are_enough(count: int, known: bool) -> None:
    waits = unknown()
    for _ in range(count):
        waits.began(1.0, SMALL, 1, NOW)
        waits.ended(1.0, SMALL, 1, NOW)
    waits.refresh(NOW, NOTHING)
    assert waits.known == (known, False, False, False)


# --- sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "index"), [(0, 0), (2_000, 0), (2_001, 1), (8_000, 1), (32_000, 2), (32_001, 3), (1e9, 3)]
)
def test_size_classes(tokens: float, index: int) -> None:
    assert size_class(tokens) == index


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_larger_prompts_are_expected_to_take_longer(one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    if larger > 1.3 * smaller + 500:  # classes differ a little in their ratios
        assert seconds(unknown().p50, smaller) < seconds(unknown().p50, larger)


def test_each_class_reads_its_tokens_at_the_usual_speed() -> None:
    times = [seconds(unknown().p50, middle) for middle in MIDDLES]
    steps = [(after - before) / PREFILL for before, after in pairwise(MIDDLES)]
    assert [after - before for before, after in pairwise(times)] == pytest.approx(steps)
    assert scale(0) == BASE


def test_within_a_class_a_larger_prompt_takes_longer() -> None:
    waits = Host().answers(60, uncached=3_000)
    assert seconds(waits.p50, 7_500) > 1.3 * seconds(waits.p50, 2_500)


def test_classes_are_learned_apart() -> None:
    waits = Host(ttft=4.0, scatter=0.1).answers(100, uncached=LARGE)
    small = Host(ttft=0.3, scatter=0.1)
    small.waits = waits
    small.answers(100, uncached=SMALL)
    assert seconds(waits.p50, LARGE) == pytest.approx(4.0 * scale(LARGE) / scale(SMALL), rel=0.15)
    assert seconds(waits.p50, SMALL) == pytest.approx(0.3, rel=0.15)


def test_larger_prompts_start_from_what_was_seen_of_smaller_ones() -> None:
    slow, fast = Host(ttft=9.0).answers(100), Host(ttft=0.1).answers(100)
    assert seconds(slow.p50, 4_000) == pytest.approx(9.0 + 3_000 / PREFILL, rel=0.2)
    assert seconds(fast.p50, 4_000) == pytest.approx(0.1 + 3_000 / PREFILL, rel=0.2)


# --- before anything was measured -------------------------------------------------------------------------------


def test_what_is_published_holds_for_a_usual_prompt() -> None:
    assert seconds(unknown().p50, TYPICAL) == pytest.approx(DEFAULT_TTFT, rel=0.01)
    assert seconds(unknown(Priors(ttft_p50=3.0)).p50, TYPICAL) == pytest.approx(3.0, rel=0.05)


@given(st.floats(0.01, 60.0), st.floats(0.0, 1e5))
def test_a_time_stays_positive_whatever_is_published(ttft: float, uncached: float) -> None:
    assert seconds(unknown(Priors(ttft_p50=ttft)).p50, uncached) > 0


def test_a_published_p90_says_how_far_times_scatter() -> None:
    narrow, wide = (unknown(Priors(ttft_p50=1.0, ttft_p90=p90)) for p90 in (1.2, 6.0))
    assert narrow.quantiles[2][0] / narrow.p50[0] == pytest.approx(1.2)
    assert wide.quantiles[2][0] / wide.p50[0] == pytest.approx(6.0)
    assert narrow.p99[0] < wide.p99[0]
    assert narrow.mean[0] < wide.mean[0]


def test_peers_say_what_is_usual_where_nothing_is_published() -> None:
    peers = FleetMedians((2.0, 3.0, None, None))
    waits = unknown(peers=peers)
    assert [seconds(waits.p50, middle) for middle in MIDDLES[:2]] == pytest.approx([2.0, 3.0])
    assert seconds(waits.p50, MIDDLES[2]) == pytest.approx(3.0 + 12_000 / PREFILL)
    own = unknown(Priors(ttft_p50=0.8), peers)
    assert seconds(own.p50, SMALL) < 0.8


def test_published_figures_in_figures() -> None:
    """At the middle of the smallest class, from a mean prompt of 3,500 tokens."""
    waits, spread = unknown(Priors(ttft_p50=2.0, ttft_p90=4.0)), log(2.0) / 1.2816
    first = (2.0 - 2_500 / PREFILL) / scale(1_000)
    assert [row[0] for row in waits.quantiles] == pytest.approx(
        [first * exp(z * spread) for z in (0.0, 0.6745, 1.2816, 1.6449, 2.3263)]
    )
    assert waits.mean[0] == pytest.approx(first * exp(spread**2 / 2))
    assert waits.scatter == pytest.approx((spread,) * 4)
    assert (waits.p50[1], waits.mean[1]) == pytest.approx(
        [(one * scale(1_000) + 3_000 / PREFILL) / scale(4_000) for one in (waits.p50[0], waits.mean[0])]
    )


@pytest.mark.parametrize("ttft_p90", [None, 0.5])
def test_a_p90_below_the_median_is_no_scatter_and_none_is_the_usual(ttft_p90: float | None) -> None:
    waits = unknown(Priors(ttft_p50=1.0, ttft_p90=ttft_p90))
    assert waits.scatter[0] == pytest.approx(0.557 if ttft_p90 is None else sqrt(LEAST_VARIANCE))
    assert waits.p50[0] == waits.p99[0] if ttft_p90 else waits.p50[0] < waits.p99[0]


def test_at_least_three_tenths_of_a_published_time_are_for_the_smallest_prompts() -> None:
    assert seconds(unknown(Priors(ttft_p50=0.1)).p50, MIDDLES[0]) == pytest.approx(0.03)


@pytest.mark.parametrize("ttft", [(2.0, 1.0, None, None), (None, 3.0, None, None), (2.0, None, None, None)])
def test_peers_that_do_not_say_what_a_step_takes(ttft: tuple[float | None, ...]) -> None:
    waits = unknown(peers=FleetMedians(ttft))
    below, here = (seconds(waits.p50, middle) for middle in MIDDLES[:2])
    assert here - below == pytest.approx(3_000 / PREFILL)


# --- what answers teach -----------------------------------------------------------------------------------------


def test_a_tail_is_known_only_from_enough() -> None:
    host = Host()
    host.answers(int(ENOUGH) - 2)
    assert host.waits.known == (False,) * len(MIDDLES)
    assert host.answers(4).known == (True, False, False, False)


def test_a_change_of_one_class_shows_in_all() -> None:
    host = Host()
    host.answers(300, LARGE)
    before = host.answers(100).p50
    after = host.answers(60, factor=3.0).p50
    assert after[0] / before[0] > 1.5
    assert after[3] / before[3] == pytest.approx(after[0] / before[0], rel=0.3)


@given(st.lists(st.floats(0.1, 60.0), min_size=1, max_size=40), st.floats(0.5, 10.0))
def test_no_time_is_expected_that_was_neither_seen_nor_published(ttfts: list[float], published: float) -> None:
    priors = Priors(ttft_p50=published)
    waits = unknown(priors)
    known = [*ttfts, seconds(waits.p50)]
    for ttft in ttfts:
        waits.began(ttft, SMALL, 1, NOW)
        waits.ended(ttft, SMALL, 1, NOW)
    waits.refresh(NOW, priors)
    assert 0.85 * min(known) <= seconds(waits.p50) <= 1.15 * max(known)


def test_a_change_is_forgiven_within_minutes_and_what_is_usual_is_kept() -> None:
    host = Host()
    before = host.answers(600).quantiles
    assert host.answers(40, factor=3.0).p50[0] > 1.4 * before[0][0]
    after = host.after(600).quantiles
    assert host.waits.level == 1
    assert after[0][0] == pytest.approx(before[0][0], rel=0.16)
    assert before[4][0] * 0.9 < after[4][0] < 2.2 * before[4][0], "the p99"


def test_a_first_token_shows_before_its_answer_ends() -> None:
    host = Host()
    before = host.answers(300).p50[0]
    for _ in range(30):
        host.waits.began(5.0, SMALL, 1, host.now)
    assert host.after(1).p50[0] > 2 * before
    assert sum(trend.recent.count(host.now) for trend in host.waits.trends) == pytest.approx(40, abs=1)


def test_steady_answers_leave_the_level_at_1() -> None:
    host = Host()
    host.answers(300)
    levels = [host.answers(10).level for _ in range(50)]
    assert sum(level == 1 for level in levels) >= 35
    assert 0.8 < min(levels) <= max(levels) < 1.25


def test_slowness_that_comes_with_load_is_not_the_hosts() -> None:
    """It slows down by 1/16 for each request beyond 8 in flight; without load it is as fast as ever."""
    host, random = Host(scatter=0.1), Random(2)
    for _ in range(600):
        in_flight = random.randint(1, 40)
        host.answers(1, factor=1 + max(0, in_flight - 8) / 16, in_flight=in_flight)
    assert seconds(host.waits.p50) == pytest.approx(1.0, rel=0.15)
    assert host.waits.load.factor(32) == pytest.approx(2.5, rel=0.25)


@pytest.mark.parametrize("ttft", [1.0, 8.0])
def test_a_wait_that_was_broken_off_counts_as_those_that_took_longer(ttft: float) -> None:
    host = Host(ttft=ttft, scatter=0.3)
    usual = host.answers(200).mean[0]
    for _ in range(100):
        host.waits.censored(0.01, SMALL, 1, host.now)
    assert host.after(1).mean[0] == pytest.approx(usual, rel=0.2), "after so short a time it says nothing"
    for _ in range(100):
        host.waits.censored(4 * ttft, SMALL, 1, host.now)
    assert seconds(host.after(1).p50) > 2 * ttft


def test_times_in_figures() -> None:
    """What is published counts 3 samples, in logarithms; a level is over both and scales every class."""
    waits = unknown()
    prior = [row[0] for row in waits.quantiles], waits.p50[1]
    for _ in range(10):
        waits.ended(9.0, SMALL, 1, NOW)
    waits.refresh(NOW, NOTHING)
    usual = waits.trends[0].usual
    (bucket,) = usual.quantiles((0.5,))
    assert waits.level == 1, "only first tokens show it"
    assert [row[0] for row in waits.quantiles] == pytest.approx(
        [bucket ** (10 / 13) * one ** (3 / 13) for one in prior[0]]
    )
    _, variance = usual.log_moments()
    scatter = sqrt(max(LEAST_VARIANCE, (10 * variance + 3 * 0.557**2) / 13))
    assert waits.scatter[0] == pytest.approx(scatter)
    before = waits.p50
    for _ in range(10):
        waits.began(36.0, SMALL, 1, NOW)
    waits.refresh(NOW, NOTHING)
    logs = waits.trends[0].logs(10.0, log(prior[0][0]), 0.557**2)
    assert waits.level == level([(waits.trends[0], *logs)], NOW) > 1.5
    assert waits.p50 == pytest.approx([waits.level * one for one in before])


def test_a_broken_wait_in_figures() -> None:
    """As the mean of the larger ones, with 3 samples of the p95 or of itself, whichever is longer."""
    waits = unknown()
    for _ in range(10):
        waits.ended(20.0, SMALL, 1, NOW)
    waits.refresh(NOW, NOTHING)
    usual, ratio = waits.trends[0].usual, 2.0 / scale(SMALL)
    mean, count = usual.beyond(ratio, NOW)
    assert count == 10
    likely = (10 * mean + 3 * max(ratio, waits.p95[0])) / 13
    waits.censored(2.0, SMALL, 1, NOW)
    assert usual.count(NOW) == 11
    assert waits.trends[0].recent.sum(NOW) == pytest.approx(log(likely))
    waits.censored(500.0, SMALL, 1, NOW)
    assert waits.trends[0].recent.sum(NOW) == pytest.approx(log(likely) + log(500.0 / scale(SMALL)))


def test_with_many_answers_what_is_usual_is_computed_once_a_second() -> None:
    waits = unknown()
    for _ in range(201):
        waits.ended(5.0, SMALL, 1, NOW)
    waits.refresh(NOW, NOTHING)
    before = waits.p50
    for _ in range(300):
        waits.ended(20.0, SMALL, 1, NOW)
    waits.refresh(NOW + 0.9, NOTHING)
    assert waits.p50 == before
    waits.refresh(NOW + 1, NOTHING)
    assert waits.p50[0] > 2 * before[0]


kinds = st.sampled_from(["began", "ended", "censored"])
events = st.tuples(kinds, st.floats(0.0, 1e4), st.floats(0.0, 1e6), st.integers(1, 500), st.floats(0.0, 1e4))


@given(st.lists(events, max_size=60), st.sampled_from([NOTHING, Priors(ttft_p50=0.2, ttft_p90=9.0)]))
def test_figures_are_in_order_whatever_happens(
    history: list[tuple[str, float, float, int, float]], priors: Priors
) -> None:
    waits, now = Waits(), NOW
    waits.refresh(now, priors)
    for kind, ttft, uncached, in_flight, pause in history:
        now += pause
        getattr(waits, kind)(ttft, uncached, in_flight, now)
        waits.refresh(now, priors)
    assert len(waits.quantiles) == len(SHARES)
    for size in range(len(MIDDLES)):
        row = [quantile[size] for quantile in waits.quantiles]
        assert row[0] > 0
        assert row == sorted(row)
        assert waits.mean[size] > 0
