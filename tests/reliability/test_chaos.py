"""A short chaos run: what is killed is killed, what breaks is counted, and the record says what a page needs."""

from pathlib import Path

from tests.reliability import chaos
from tests.reliability.chaos import Chaos, ChaosResult, question
from tests.reliability.client import Answer


def test_a_request_is_the_same_in_every_run_with_its_seed() -> None:
    assert [question(number, 3) for number in range(50)] == [question(number, 3) for number in range(50)]
    assert len({question(number, 3).payload(80) for number in range(50)}) > 40


async def test_workers_and_the_store_are_killed_and_no_answer_is_damaged(tmp_path: Path) -> None:
    settings = Chaos(6.0, streams=4, workers=2, store_every=3.0, store_down=1.0, worker_every=2.5)
    result = await chaos.run(settings, tmp_path)
    record = result.record()
    assert record["workers_killed"] >= 1
    assert record["stores_killed"] >= 1
    assert record["ends"]["done"] > 0
    assert (record["damaged"], record["lost_elsewhere"]) == (0, 0)
    assert record["books"]["kinds"]["wrong"]["attempts"] == record["books"]["rows_twice"] == 0
    assert [line.kept for line in chaos.lines(record)][:2] == [True, True]


def test_what_the_record_counts() -> None:
    result = ChaosResult(
        [
            Answer(1, 0.0, end="done", text="whole"),
            Answer(2, 0.0, end="done", text="part"),
            Answer(3, 0.0, port=7, end="cut", text="part"),
            Answer(4, 0.0, port=8, end="cut", text="damaged"),
            Answer(5, 0.0, status=502, end="error", error="server"),
        ]
    )
    result.done.lost.add(7)
    record = result.record()
    assert (record["damaged"], record["lost_on_killed_workers"], record["lost_elsewhere"]) == (2, 1, 1)
    assert record["errors"] == {"502 server": 1}
    assert [line.kept for line in chaos.lines(record)] == [False, False, True]
