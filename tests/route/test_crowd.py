"""What being one of many costs: nothing where the host does not notice, more and more where it does."""

from collections import Counter
from dataclasses import replace
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.crowd import LIKELY, ROOM, STEEPEST, Crowd
from gateway.route.fleet import Fleet
from gateway.types import Policy, Price, Score
from tests.route.world import CHEAPEST, NOW, attempt, endpoint, plan


def crowd(history: list[tuple[int, float]]) -> Crowd:
    """After answers to requests that were one of so many, each so many times as slow as usual."""
    made = Crowd()
    for in_flight, slowness in history:
        made.answered(in_flight, slowness, NOW)
    return made


def test_one_request_is_not_crowded() -> None:
    assert Crowd().factor(1) == 1


def test_a_burst_is_expected_to_slow_down_before_any_answer_tells() -> None:
    made = Crowd()
    assert made.factor(6) == pytest.approx(2**LIKELY)
    assert made.factor(20) > made.factor(6)


def test_what_is_usual_costs_nothing() -> None:
    made = crowd([(40, 1.0)] * 500)
    assert made.usual == pytest.approx(40, rel=0.02)
    assert made.factor(39) == 1
    assert made.factor(80) > 1


def test_a_host_that_does_not_notice_is_learned() -> None:
    made = crowd([(1, 1.0), (30, 1.0)] * 50)
    assert made.exponent < 0.15
    assert made.factor(60) < 1.2


def test_a_host_that_queues_is_learned() -> None:
    made = Crowd()
    for number in range(200):
        in_flight = 1 + number % 20
        made.answered(in_flight, (in_flight + ROOM) / (made.usual + ROOM), NOW)
    assert made.exponent == pytest.approx(1.0, abs=0.15)


def test_answers_of_unknown_slowness_tell_what_is_usual_only() -> None:
    made = Crowd()
    for _ in range(100):
        made.answered(10, None, NOW)
    assert (made.exponent, round(made.usual)) == (LIKELY, 10)


def test_what_was_usual_long_ago_is_forgotten() -> None:
    made = crowd([(40, 1.0)] * 100)
    made.answered(1, 1.0, NOW + 86_400)
    assert made.usual == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.integers(1, 1_000), st.floats(-8, 8).map(exp)), max_size=100),
    st.integers(1, 1_000),
    st.integers(1, 1_000),
)
def test_more_in_flight_is_never_expected_to_be_faster(history: list[tuple[int, float]], one: int, other: int) -> None:
    made = crowd(history)
    fewer, more = sorted((one, other))
    assert 1 <= made.factor(fewer) <= made.factor(more) <= (1 + more / ROOM) ** STEEPEST


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
