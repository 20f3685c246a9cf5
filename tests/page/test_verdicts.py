"""The verdict of each range, read at most once a minute, and none while there is no history."""

import asyncio
from typing import Any

import pytest

from gateway.page import verdicts
from gateway.page.verdicts import FRESH, SPANS, Verdicts
from tests.page.test_verdict import figures


class Reading:
    """A history that is read from here: `fails` says whether the store is down."""

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []
        self.fails = False
        self.now = 0.0
        self.replies = asyncio.Event()
        self.replies.set()

    async def __call__(self, model: str, name: str) -> dict[str, Any]:
        self.read.append((model, name))
        await self.replies.wait()
        if self.fails:
            raise OSError("down")
        requests = {"1h": 0, "24h": 5}.get(name, 1_000)
        series = {"total": figures(requests), "before": figures()}
        return {"all": series, "endpoints": {"a/fp8": {"total": figures(requests, ok=requests // 2), "before": None}}}


async def test_each_range_has_its_sentences() -> None:
    reading = Reading()
    found = await Verdicts(reading, lambda: reading.now).of("m")
    assert set(found) == set(SPANS)
    assert found["1h"] == ["No requests in the last hour."]
    assert found["24h"][0].startswith("100 % of 5 requests in the last 24 hours")
    assert "a/fp8 failed 500 attempts of 1,000." in found["30d"]


async def test_it_is_read_once_a_minute_and_pages_need_not_wait_for_that() -> None:
    reading = Reading()
    made = Verdicts(reading, lambda: reading.now)
    first = await asyncio.gather(made.of("m"), made.of("m"))
    reading.now = FRESH - 1
    assert await made.of("m") == first[0] == first[1]
    assert reading.read == [("m", name) for name in SPANS]
    reading.now, reading.fails = FRESH, True
    reading.replies.clear()
    assert await made.of("m") == first[0]
    reading.replies.set()
    async with asyncio.timeout(60):
        while await made.of("m"):
            await asyncio.sleep(0)
    assert len(reading.read) == len(SPANS) + 1


async def test_without_a_store_there_is_none() -> None:
    reading = Reading()
    reading.fails = True
    assert await Verdicts(reading, lambda: reading.now).of("m") == {}


async def test_a_store_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "WITHIN", 0.01)

    async def hangs(_: str, __: str) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    made = Verdicts(hangs)
    async with asyncio.timeout(60):
        assert await made.of("m") == {}
    made.close()
