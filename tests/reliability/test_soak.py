"""A short soak: every shape of request is asked, and what is measured is there."""

from pathlib import Path

from tests.reliability import soak
from tests.reliability.soak import Soak, question


def test_every_shape_is_among_the_requests() -> None:
    asked = [question(number, 0) for number in range(200)]
    assert {one.stream for one in asked} == {True, False}
    assert {one.model for one in asked} == {"deepseek-v3.2", "deepseek-v3.2:cached", "no-such-model"}
    assert any(one.leave for one in asked)
    assert any(one.fields for one in asked)


async def test_a_short_soak(tmp_path: Path) -> None:
    record = (await soak.run(Soak(150, workers=1, clients=4), tmp_path)).record()
    assert record["requests"] == 150
    assert record["damaged"] == 0
    assert record["ends"]["left"] > 0
    assert len(record["rss_mb_per_100k"]) == len(record["rss_over_time"]) == 1
    assert record["store_keys"][-1][1] > 0
    assert record["books"]["kinds"]["equal"]["attempts"] > 0
    kept = {line.target: line.kept for line in soak.lines(record)}
    assert kept["damaged answers: 0"]
