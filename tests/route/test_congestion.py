"""What being one of many costs: nothing where the host does not notice, more and more where it does."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.congestion import FEWEST, HALF_LIFE, ROOM, STEEPEST, Congestion
from gateway.route.fleet import Fleet
from gateway.types import Policy, Price, Score
from tests.route.world import CHEAPEST, NOW, attempt, endpoint, plan

LIKELY = 0.25
seeds = st.sampled_from(range(100))  # what is said of noise holds for these


def load(history: Iterable[tuple[int, float]], scatter: float = 0.3) -> Congestion:
    """After answers, one a second: (how many were in flight, how many times as long as usual it took)."""
    made = Congestion(LIKELY)
    now = NOW
    for in_flight, slowness in history:
        now += 1
        made.add(in_flight, log(slowness), now)
    made.refresh(now, scatter)
    return made


def answers(seed: int, most: int, free: float, scatter: float, count: int = 600) -> Congestion:
    """Of a host that slows by 1/16 for each request beyond `free`, with up to `most` in flight."""
    random = Random(seed)
    numbers = [random.randint(1, most) for _ in range(count)]
    return load(((one, slowness(one, free) * exp(random.gauss(0, scatter))) for one in numbers), max(scatter, 0.1))


def slowness(in_flight: int, free: float) -> float:
    return 1 + max(0.0, in_flight - free) / 16


def test_one_request_is_not_slowed_by_load() -> None:
    assert Congestion(LIKELY).factor(1) == Congestion(LIKELY).factor(ROOM) == 1


def test_a_burst_is_expected_to_slow_down_before_any_answer_shows_it() -> None:
    made = Congestion(LIKELY)
    assert made.factor(12) == pytest.approx(1 + LIKELY)
    assert made.factor(20) == pytest.approx(1 + 2 * LIKELY)
    assert made.shown_factor(20) == 1, "samples are not corrected for what none of them shows"


def at_once(*answers: tuple[int, int, float], scatter: float = 0.3) -> Congestion:
    """After answers, all at the same time: (how many, in flight, how many times as long as usual)."""
    made = Congestion(LIKELY)
    for count, in_flight, slowness in answers:
        for _ in range(count):
            made.add(in_flight, log(slowness), NOW)
    made.refresh(NOW, scatter)
    return made


def test_a_slowdown_in_figures() -> None:
    """4 are carried, so 7 or 8 (7.5) are 3.5/8 beyond; the likely steepness counts 8 answers at twice that."""
    made, x = at_once((20, 1, 1.0), (10, 8, 2.0)), 3.5 / 8
    assert made.carried == 4
    assert made.steepness == pytest.approx((10 * x + 8 * LIKELY) / (10 * x * x + 8))
    assert made.shown == pytest.approx(10 * x / (10 * x * x + 8))
    assert made.factor(12) == pytest.approx(1 + made.steepness)
    assert made.shown_factor(12) == pytest.approx(1 + made.shown)


def test_it_is_slower_by_what_is_beyond_the_usual_of_less_load() -> None:
    made, x = at_once((30, 1, 2.0), (10, 2, 2.1), (10, 8, 4.0)), 3.5 / 8
    usual = (30 * log(2.0) + 10 * log(2.1)) / 40
    assert made.shown == pytest.approx(10 * x * (exp(log(4.0) - usual) - 1) / (10 * x * x + 8))


@pytest.mark.parametrize(("slower", "carried"), [(1.15, 4.0), (1.24, 7.5), (1.40, 4.0)])
def test_what_is_within_chance_is_carried(slower: float, carried: float) -> None:
    """A tenth of the logarithm, and one standard error."""
    scatter = 0.06 if slower == 1.15 else 0.5
    assert at_once((20, 1, 1.0), (16, 8, slower), scatter=scatter).carried == carried


def test_slower_with_few_in_flight_says_nothing_about_many() -> None:
    made = at_once((20, 1, 1.0), (20, 2, 3.0))
    assert (made.carried, made.steepness, made.shown) == (ROOM, LIKELY, 0.0)


def test_an_answer_says_no_more_than_so_much() -> None:
    made, x = at_once((20, 1, 1.0), (10, 8, 1e6)), 3.5 / 8
    assert made.shown == pytest.approx(10 * x * (exp(1.5) - 1) / (10 * x * x + 8))
    quick = at_once((20, 1, 1e-6), (10, 8, 1.0))
    assert quick.shown == pytest.approx(made.shown)


def test_it_is_never_steeper_than_so_much() -> None:
    made = at_once((20, 1, 0.3), (200, 4, 0.3), (200, 8, 9.0))
    assert (made.steepness, made.shown) == (STEEPEST, STEEPEST)


def test_it_is_fitted_every_two_seconds() -> None:
    made = at_once((20, 1, 1.0))
    for _ in range(20):
        made.add(16, log(3.0), NOW)
    made.refresh(NOW + 1.9, 0.3)
    assert made.shown == 0
    made.refresh(NOW + 2, 0.3)
    assert made.shown > 0


def test_three_answers_are_enough_for_a_bucket() -> None:
    assert at_once((20, 1, 1.0), (2, 16, 1.0)).carried == ROOM
    assert at_once((20, 1, 1.0), (3, 16, 1.0)).carried == 14.5


@given(st.integers(5, 256))
def test_an_endpoint_that_shows_no_slowdown_carries_what_it_had(most: int) -> None:
    made = load((one, 1.0) for one in range(1, most + 1) for _ in range(4))
    assert made.carried == pytest.approx(most, rel=0.3), "as far as buckets tell"
    assert made.factor(0.7 * most) == 1
    assert made.factor(4 * most) > 1, "nothing is known so far beyond"


@given(seeds)
def test_less_in_flight_than_it_carries_is_no_faster(seed: int) -> None:
    made = answers(seed, 16, 4.0, 0.1)
    around = [made.carried + step / 8 for step in range(-12, 13)]
    assert min(made.factor(one) for one in around) == 1
    assert min(made.shown_factor(one) for one in around) == 1
    assert made.factor(around[-1]) > 1


@given(seeds)
def test_an_endpoint_that_slows_down_is_learned(seed: int) -> None:
    made = answers(seed, most=40, free=8, scatter=0.3)
    for in_flight in (8, 16, 32, 64):
        assert made.factor(in_flight) == pytest.approx(slowness(in_flight, 8), rel=0.35)
        assert made.shown_factor(in_flight) <= made.factor(in_flight) + 1e-9


def test_without_noise_it_is_learned_well() -> None:
    made = answers(seed=1, most=40, free=8, scatter=0.0)
    assert made.carried == pytest.approx(8, abs=1)
    for in_flight in (4, 8, 16, 32, 64):
        assert made.factor(in_flight) == pytest.approx(slowness(in_flight, 8), rel=0.1)


@given(seeds)
def test_noise_alone_does_not_make_it_steep(seed: int) -> None:
    made = answers(seed, most=40, free=1e9, scatter=0.3)
    assert made.factor(16) < 1.2
    assert made.factor(32) < 1.4


def test_noise_alone_usually_changes_nothing() -> None:
    factors = sorted(answers(seed, most=40, free=1e9, scatter=0.5).factor(32) for seed in range(50))
    assert factors[len(factors) // 2] == 1
    assert factors[-1] < 1.6


def test_what_comes_after_a_slowdown_is_not_carried() -> None:
    """Slow with some 20 in flight, and by chance not with some 40."""
    made = load([(1, 1.0), (7, 1.0), (20, 3.0), (40, 1.0)] * 50)
    assert made.carried == pytest.approx(7.5, abs=1)
    assert made.factor(20) > 1


def test_a_few_slow_answers_say_nothing() -> None:
    made = load([(30, 9.0)] * (int(FEWEST) - 1))
    assert (made.carried, made.steepness, made.shown) == (ROOM, LIKELY, 0.0)


def test_what_was_slow_long_ago_is_forgotten() -> None:
    made = load([(1, 1.0), (30, 3.0)] * 50)
    assert made.factor(30) > 2
    made.refresh(NOW + 12 * HALF_LIFE, 0.3)
    assert made.factor(30) == Congestion(LIKELY).factor(30)


@given(
    st.lists(st.tuples(st.integers(1, 1_000), st.floats(-8, 8).map(exp)), max_size=100),
    st.integers(1, 1_000),
    st.integers(1, 1_000),
)
def test_more_in_flight_is_never_expected_to_be_faster(history: list[tuple[int, float]], one: int, other: int) -> None:
    made = load(history)
    fewer, more = sorted((one, other))
    for factor in (made.factor, made.shown_factor):
        assert 1 <= factor(fewer) <= factor(more) <= 1 + STEEPEST * more / ROOM


def spread(policy: Policy, count: int) -> Counter[str]:
    """Where a burst goes that is sent before any of it is answered; `a` is a little cheaper than the others."""
    fleet = Fleet(endpoint(name, price=Price(0.19 if name == "a" else 0.2, 0.4)) for name in "abcd")
    sent = Counter[str]()
    for _ in range(count):
        best = plan(fleet, policy=policy).ranked[0].endpoint.id
        sent[best] += 1
        attempt(fleet, best)
    return sent


def test_a_burst_spreads_where_time_has_a_value() -> None:
    sent = spread(replace(CHEAPEST, score=Score(value_of_time=1.0)), 40)
    assert max(sent.values()) <= 13
    assert sent["a"] == max(sent.values())


def test_a_burst_stays_on_the_cheapest_where_it_has_none() -> None:
    assert spread(CHEAPEST, 40) == {"a": 40}
