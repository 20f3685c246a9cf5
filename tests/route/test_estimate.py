"""A share as it is now: evidence is bounded, so a change shows; and it fades, so that a change is forgiven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.estimate import Estimate

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
