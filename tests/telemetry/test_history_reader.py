"""What is read from the store, and what from memory."""

from collections.abc import Sequence
from typing import cast

import pytest

from gateway.telemetry import history_reader
from gateway.telemetry.archive import Archive
from gateway.telemetry.history_reader import KEPT_FOR, LATE, Bucket, HistoryReader
from gateway.telemetry.series import Series

SERIES = Series("m", "all", "")
AT = 36_000.0  # an hour starts


class Strings:
    """An archive that has a string under every key, and notes what is read."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.have = b"x"

    async def strings(self, keys: Sequence[str]) -> list[bytes]:
        self.read += keys
        return [self.have] * len(keys)


class Reading:
    """A reader with its archive, at a time that a test sets."""

    def __init__(self) -> None:
        self.archive, self.now = Strings(), AT
        self.reader = HistoryReader(cast(Archive, self.archive), lambda: self.now)

    async def __call__(self, *hours: int) -> list[int]:
        """The hours that were read from the store."""
        self.archive.read.clear()
        found = await self.reader.read([Bucket(SERIES, "hour", hour) for hour in hours])
        assert list(found) == ([Bucket(SERIES, "hour", hour) for hour in hours] if self.archive.have else [])
        return [int(key.split(":")[4]) for key in self.archive.read]


async def test_what_is_over_is_read_once() -> None:
    reading = Reading()
    reading.now = AT + LATE
    assert await reading(8, 9, 10) == [8, 9, 10]
    assert await reading(8, 9, 10) == [10], "the hour under way is always read"


async def test_what_ended_just_now_is_read_again() -> None:
    """Rows of its last second may not be shipped yet."""
    reading = Reading()
    reading.now = AT + LATE - 1
    assert await reading(8, 9) == [8, 9]
    assert await reading(8, 9) == [9]


async def test_rows_that_were_shipped_late_are_seen_after_a_while() -> None:
    reading = Reading()
    await reading(3)
    reading.now = AT + KEPT_FOR - 1
    assert await reading(3) == []
    reading.now = AT + KEPT_FOR
    assert await reading(3) == [3]
    assert await reading(3) == []


async def test_a_bucket_without_data_is_kept_too() -> None:
    reading = Reading()
    reading.archive.have = b""
    assert await reading(3) == [3]
    assert await reading(3) == []


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_reader, "MOST_KEPT", 2)
    reading = Reading()
    assert await reading(1, 2, 3) == [1, 2, 3]
    assert await reading(2, 3) == []
    assert await reading(1) == [1]
    assert "2 buckets" in repr(reading.reader)


async def test_more_than_memory_holds_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_reader, "MOST_KEPT", 2)
    reading = Reading()
    for _ in range(2):
        assert (await reading(1, 2, 3, 4, 5))[-3:]
