import pytest

from gateway.probe.endpoint_record import (
    LONGEST_MISTAKE,
    MOST_RESULTS,
    MOST_RUNS,
    EndpointRecord,
    SpeedRun,
    decoded,
    encoded,
    percentile,
)

RUN = SpeedRun(1.0, 0.5, 40.0, 5.5, "ok")


def test_it_is_the_same_after_the_store() -> None:
    record = EndpointRecord(rounds=3, last=7.0)
    record.ran(RUN)
    record.judged("json", "wrong: year", 8.0)
    assert decoded(encoded(record)) == record


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b'{"rounds": "x"}', b'{"\x80": 1}', 7])
def test_what_cannot_be_read_is_a_new_one(data: object) -> None:
    assert decoded(data) == EndpointRecord()


def test_it_is_bounded() -> None:
    record = EndpointRecord()
    for _ in range(300):
        record.ran(RUN)
        record.judged("json", "x" * 1_000, 0.0)
    assert len(record.runs) == MOST_RUNS
    assert len(record.canaries["json"].results) == MOST_RESULTS
    assert record.canaries["json"].of == 300
    assert len(record.canaries["json"].mistake) == LONGEST_MISTAKE
    assert len(encoded(record)) < 30_000


def test_records_do_not_share_anything() -> None:
    first, second = EndpointRecord(), EndpointRecord()
    first.ran(RUN)
    first.judged("json", None, 0.0)
    assert second == EndpointRecord()


def test_the_score_is_the_share_of_right_answers_of_all_canaries() -> None:
    record = EndpointRecord()
    assert record.score is None
    for mistake in (None, None, "wrong", None):
        record.judged("json", mistake, 0.0)
        record.judged("needle", None, 0.0)
    assert record.score == 7 / 8


def test_drift_begins_after_some_mistakes() -> None:
    record = EndpointRecord()
    seen = [record.judged("json", "wrong", 0.0).drift for _ in range(4)]
    assert seen == [False, False, False, True]


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.75, 3.0), (0.95, 4.0), (0.01, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == value
    assert percentile([], share) is None
