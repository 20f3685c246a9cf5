"""When a request counts as late."""

import pytest

from gateway.route.endpoint import ENOUGH
from gateway.route.late import LOOK_EVERY, Lateness
from tests.route.world import NOW


def waited(lateness: Lateness, *seconds: float, size: int = 0) -> Lateness:
    for one in seconds:
        lateness.waited(one, size, NOW)
    return lateness


def test_nothing_is_known_before_enough_have_waited() -> None:
    few = waited(Lateness(), *[1.0] * LOOK_EVERY)
    assert ENOUGH > LOOK_EVERY
    assert few.after(0.9, 0) == 0.0


def test_it_is_the_share_that_is_asked_for() -> None:
    lateness = Lateness()
    lateness.after(0.9, 0)
    waited(lateness, *([1.0] * 7 + [4.0]) * 20)
    assert lateness.after(0.5, 0) == pytest.approx(4.0, rel=0.1), "as it was asked for last"
    assert waited(lateness, *[1.0] * LOOK_EVERY).after(0.5, 0) == pytest.approx(1.0, rel=0.1)


def test_sizes_are_apart() -> None:
    lateness = Lateness()
    lateness.after(0.9, 3)
    waited(lateness, *[9.0] * 32, size=3)
    assert lateness.after(0.9, 3) == pytest.approx(9.0, rel=0.1)
    assert lateness.after(0.9, 0) == 0.0
