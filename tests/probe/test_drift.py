"""The error rates in the docstring of `drift.py` are those of the Markov chain of the sum."""

from collections.abc import Iterable
from math import ceil, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.probe.drift import GREEDY, USUAL, DriftTest


def samples_to_drift(test: DriftTest, failing: float) -> float:
    """The expected number of samples until the sum reaches its limit, from 0.

    On a lattice, where E(s) = 1 + failing * E(s + up) + (1 - failing) * E(s - down): a linear system whose rows are
    empty but for a narrow band.
    """
    fall = -log((1 - test.good) / (1 - test.bad))
    rise = log(test.bad / test.good)
    down = min(range(10, 40), key=lambda one: abs(rise / -fall * one - round(rise / -fall * one)))
    up, size = round(rise / -fall * down), ceil(test.limit / -fall * down)
    rows = []
    for place in range(size):
        row = [0.0] * size + [1.0]
        row[place] += 1.0
        row[max(0, place - down)] -= 1 - failing
        if place + up < size:
            row[place + up] -= failing
        rows.append(row)
    for pivot in range(size):
        for one in range(pivot + 1, min(size, pivot + down + 1)):
            if factor := rows[one][pivot] / rows[pivot][pivot]:
                for column in (*range(pivot, min(size, pivot + up + 1)), size):
                    rows[one][column] -= factor * rows[pivot][column]
    found = [0.0] * size
    for one in reversed(range(size)):
        known = sum(rows[one][other] * found[other] for other in range(one + 1, size))
        found[one] = (rows[one][size] - known) / rows[one][one]
    return found[0]


@pytest.mark.parametrize(
    ("test", "failing", "samples"),
    [
        (USUAL, 0.02, 230_000),
        (USUAL, 0.05, 4_600),
        (USUAL, 0.30, 18),
        (USUAL, 1.00, 4),
        (GREEDY, 0.10, 5_200),
        (GREEDY, 0.60, 9.4),
        (GREEDY, 1.00, 4),
    ],
)
def test_the_error_rates(test: DriftTest, failing: float, samples: float) -> None:
    assert samples_to_drift(test, failing) == pytest.approx(samples, rel=0.05)


def verdicts(results: Iterable[bool]) -> list[bool]:
    total, drifting, found = 0.0, False, []
    for passed in results:
        total, drifting = USUAL.after(total, drifting, passed)
        found.append(drifting)
    return found


def test_it_ends_when_the_sum_is_back_at_nothing() -> None:
    found = verdicts([False] * 4 + [True] * 21)
    assert found[2:4] == [False, True]
    assert found[-2:] == [False, False]
    assert found[10], "a few right answers are no proof"


@given(st.lists(st.booleans(), max_size=200))
def test_the_sum_stays_within_its_limits_and_drift_begins_with_a_mistake(results: list[bool]) -> None:
    total, drifting = 0.0, False
    for passed in results:
        total, now = USUAL.after(total, drifting, passed)
        assert 0.0 <= total <= USUAL.limit
        assert not (now and not drifting and passed)
        drifting = now
