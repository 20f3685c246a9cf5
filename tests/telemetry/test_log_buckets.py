"""Quantiles from buckets, against the true ones."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.log_buckets import GROWTH, LogBuckets

BUCKETS = LogBuckets(0.01, 100)  # to 138
SHARES = (0.01, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def counted(values: list[float]) -> list[int]:
    counts = [0] * BUCKETS.count
    for value in values:
        counts[BUCKETS.index(value)] += 1
    return counts


@given(st.lists(st.floats(0.01, 137.0), min_size=1, max_size=300))
def test_every_quantile_is_true_to_ten_percent(values: list[float]) -> None:
    ranked = sorted(values)
    for share, found in zip(SHARES, BUCKETS.quantiles(SHARES, counted(values)), strict=True):
        true = ranked[max(ceil(share * len(ranked)), 1) - 1]
        assert found is not None
        assert true / GROWTH * (1 - 1e-9) <= found <= true * GROWTH * (1 + 1e-9)


def test_many_samples_are_mostly_true_to_one_percent() -> None:
    values = [0.2 * 1.003**number for number in range(1_000)]
    found = BUCKETS.quantiles((0.5, 0.9, 0.99), counted(values))
    assert found == pytest.approx([values[499], values[899], values[989]], rel=0.01)


@given(st.lists(st.floats(0.0, 1e6), max_size=50), st.lists(st.floats(0.0, 1e6), max_size=50))
def test_counts_add_up(one: list[float], other: list[float]) -> None:
    sums = [first + second for first, second in zip(counted(one), counted(other), strict=True)]
    assert sums == counted(one + other)


def test_values_out_of_range_count_in_the_first_and_the_last_bucket() -> None:
    assert [BUCKETS.index(value) for value in (0.0, 0.01, 1e9)] == [0, 0, BUCKETS.count - 1]
    low, high = BUCKETS.quantiles((0.5, 1.0), counted([0.0, 1e9]))
    assert low == pytest.approx(0.01, rel=0.1)
    assert high == pytest.approx(137.8, rel=0.1)


def test_an_edge_belongs_to_the_bucket_below_it() -> None:
    edges = [0.01 * GROWTH**number for number in range(1, 100)]
    assert [BUCKETS.index(edge) for edge in edges] == list(range(99))


def test_nothing_has_no_quantile() -> None:
    assert BUCKETS.quantiles((0.5, 0.9), [0] * BUCKETS.count) == [None, None]
