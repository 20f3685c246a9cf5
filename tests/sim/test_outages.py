from random import Random
from statistics import median

import pytest

from gateway.sim.outages import DEPTHS, draw_outages
from gateway.sim.sim_host import Incidents

DAY = 86_400.0
MONTHLY = Incidents(every=4 * DAY, median=3600.0)


def test_they_come_as_often_and_last_as_long_as_they_are_said_to() -> None:
    outages = draw_outages(Random(1), MONTHLY, span=4_000 * DAY, compression=1.0)
    assert len(outages) == pytest.approx(1_000, rel=0.1)
    assert median(one.end - one.start for one in outages) == pytest.approx(3600.0, rel=0.1)
    assert all(DEPTHS[0] <= one.depth <= DEPTHS[1] for one in outages)
    assert {one.how for one in outages} == {"server", "refused", "silent"}


def test_pressed_into_an_hour_they_take_the_same_share_of_it() -> None:
    long = draw_outages(Random(2), MONTHLY, span=400 * DAY, compression=1.0)
    short = draw_outages(Random(2), MONTHLY, span=4 * DAY, compression=100.0)
    assert [one.start for one in short] == pytest.approx([one.start / 100 for one in long])
    assert [one.end for one in short] == pytest.approx([one.end / 100 for one in long])
