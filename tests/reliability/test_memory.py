"""The slope of memory over requests."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reliability.memory import Sample, folder_bytes, growth, samples, slope


@given(st.integers(-50, 50), st.integers(-1000, 1000), st.integers(2, 30))
def test_points_on_a_line_have_its_slope(rise: int, start: int, number: int) -> None:
    assert slope([(x, start + rise * x) for x in range(number)]) == pytest.approx(rise)


def test_noise_that_cancels_out_changes_nothing() -> None:
    assert slope([(0, 1), (0, -1), (10, 21), (10, 19)]) == pytest.approx(2)


def test_one_point_has_no_slope() -> None:
    assert slope([(3, 5)]) == slope([(3, 5), (3, 9)]) == 0.0


def test_growth_leaves_out_the_warm_up_and_keeps_workers_apart() -> None:
    taken = [Sample(at, pid, rss, 10, 1) for pid, rise in ((1, 0), (2, 5)) for at, rss in ((0, 7), (100, 900 * rise))]
    taken += [Sample(at, pid, 1000 + rise * at, 10, 1) for pid, rise in ((1, 0), (2, 5)) for at in (200, 300, 400)]
    assert growth(taken, warm=200) == {1: pytest.approx(0.0), 2: pytest.approx(500_000)}


def test_a_process_is_read_and_one_that_ended_is_left_out() -> None:
    (one,) = samples([os.getpid(), 2**22 + 1], 5)
    assert (one.pid, one.requests) == (os.getpid(), 5)
    assert one.rss > 1e6
    assert one.descriptors >= 3


def test_bytes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_bytes(bytes(10))
    (tmp_path / "other").write_bytes(bytes(5))
    assert folder_bytes(tmp_path) == 15
