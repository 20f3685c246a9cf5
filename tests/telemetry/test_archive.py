import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from gateway.telemetry.archive import MOST_KEYS, PAGE, Archive, Uptime
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.rollups import DAY
from gateway.telemetry.series import Series, hashed
from gateway.telemetry.shipper import Shipper
from gateway.types import Row
from tests.support.rows import cached_row, row
from tests.support.wire import talker
from tests.telemetry.conftest import Store

NOW = 4_000_000_000.0  # far ahead: the store's own clock ends what is old
TODAY = int(NOW // DAY)


@pytest.fixture
async def archive(store: Store) -> AsyncIterator[Archive]:
    archive = Archive(store.url)
    yield archive
    archive.close()


async def shipped(folder: Path, store: Store, rows: Iterable[Row]) -> None:
    ledger = Ledger(folder)
    for one in rows:
        ledger.append(one)
    shipper = Shipper(folder, store.url, lambda up: None, clock=lambda: NOW)
    assert await shipper.ship()
    assert await shipper.ship()  # counts nothing twice
    shipper.close()
    ledger.close()


async def test_a_tenants_days_by_endpoint_and_model(tmp_path: Path, store: Store, archive: Archive) -> None:
    rows = [
        row(at=NOW),
        row(at=NOW, outcome="server", last=False, cost=0, prompt_tokens=0, cached_tokens=0),
        row(at=NOW, endpoint="own/a", model="other/model"),
        row(at=NOW, tenant="other"),
        row(at=NOW - DAY, cost=2**53 + 1),
        cached_row(at=NOW),
    ]
    await shipped(tmp_path, store, rows)
    ever, (yesterday, *today) = await archive.spending("team", (TODAY - 1, TODAY))
    assert (yesterday.day, yesterday.counts["cost"]) == (TODAY - 1, 2**53 + 1)
    assert [one.endpoint for one in today] == ["novita/fp8", "own/a"]
    counts = {"requests": 1, "prompt": 1000, "cached": 400, "completion": 202, "reasoning": 40, "cost": 250_000_000}
    assert today[0] == (TODAY, "novita/fp8", "deepseek/deepseek-v3.2", counts)
    assert ever == 500_000_000 + 2**53 + 1
    assert await archive.spending("team") == (ever, [])
    assert await archive.spending("nobody", (TODAY,)) == (0, [])


async def test_a_total_and_its_days_agree_while_rows_are_shipped(
    tmp_path: Path, store: Store, archive: Archive
) -> None:
    ledger = Ledger(tmp_path)
    shipper = Shipper(tmp_path, store.url, lambda up: None, clock=lambda: NOW)
    seen = set()
    for _ in range(20):
        for _ in range(10):
            ledger.append(row(at=NOW))
        shipping = asyncio.create_task(shipper.ship())
        while not shipping.done():
            ever, by_day = await archive.spending("team", (TODAY,))
            assert ever == sum(one.counts["cost"] for one in by_day)
            seen.add(ever)
        assert await shipping
    assert len(seen) > 1
    shipper.close()
    ledger.close()


def endpoint(name: str) -> Series:
    return Series("deepseek/deepseek-v3.2", "endpoint", name)


async def test_uptime_counts_all_but_faults_of_requests(tmp_path: Path, store: Store, archive: Archive) -> None:
    def ended(outcome: str, ago: float = 0.0, endpoint: str = "novita/fp8") -> Row:
        return row(at=NOW - ago, outcome=outcome, endpoint=endpoint)

    recent = [ended(outcome) for outcome in ("ok", "ok", "ok", "rate_limited", "malformed", "cancelled")]
    earlier = [ended("server", 1_200), ended("server", 40_000), *[ended("ok", 40_000)] * 4]
    others = [ended("cancelled", endpoint="a/b"), ended("ok", 2 * DAY, "old/one")]
    await shipped(tmp_path, store, [*recent, *earlier, *others])
    found = await archive.uptimes([endpoint("novita/fp8"), endpoint("a/b"), endpoint("old/one")], NOW)
    assert found == [Uptime(75.0, 60.0, 70.0), Uptime(), Uptime()]


async def test_a_window_of_uptime_starts_with_its_first_minute_or_hour(
    tmp_path: Path, store: Store, archive: Archive
) -> None:
    minutes = (0, 4, 5, 6, 30, 31, 60, 24 * 60, 25 * 60)  # before the newest
    await shipped(tmp_path, store, [row(at=NOW - 60 * ago, endpoint=f"ago/{ago}") for ago in minutes])
    uptimes = dict(zip(minutes, await archive.uptimes([endpoint(f"ago/{ago}") for ago in minutes], NOW), strict=True))
    assert [ago for ago in minutes if uptimes[ago].last_5m == 100] == [0, 4, 5]
    assert [ago for ago in minutes if uptimes[ago].last_30m == 100] == [0, 4, 5, 6, 30]
    assert [ago for ago in minutes if uptimes[ago].last_1d == 100] == [0, 4, 5, 6, 30, 31, 60, 24 * 60]


async def test_more_endpoints_than_one_reply_holds(tmp_path: Path, store: Store, archive: Archive) -> None:
    names = [f"many/{number}" for number in range(2 * MOST_KEYS // 62 + 2)]
    await shipped(tmp_path, store, [row(at=NOW, endpoint=name) for name in names])
    assert {one.last_5m for one in await archive.uptimes([endpoint(name) for name in names], NOW)} == {100.0}


async def test_the_names_of_several_days(tmp_path: Path, store: Store, archive: Archive) -> None:
    rows = [
        *(row(at=NOW - age * DAY, app="b") for age in (0, 1)),
        row(at=NOW - DAY, app="a", policy="nitro"),
        row(at=NOW - 5 * DAY, app="old"),
    ]
    await shipped(tmp_path, store, rows)
    found = await archive.names("deepseek/deepseek-v3.2", (TODAY, TODAY - 1))
    assert found == {
        "all": [""],
        "endpoint": ["novita/fp8"],
        "policy": ["balanced", "nitro"],
        "app": ["b", "a"],
        "key": [hashed("team")],
    }


async def test_an_exchange_is_sought_from_its_beginning_for_two_hours(
    tmp_path: Path, store: Store, archive: Archive
) -> None:
    """As far as the store's clock tells: ten seconds may lie between the two clocks."""
    now, _ = await archive._execute("TIME")  # type: ignore[misc]
    ages = {-60: False, -5: True, 3_600: True, 7_140: True, 7_260: False}
    names = {age: f"gen-{int(now) - age}-0a" for age in ages}
    await shipped(tmp_path, store, [row(exchange=name, at=NOW) for name in names.values()])
    assert {age: bool(await archive.exchange(name)) for age, name in names.items()} == ages


async def test_the_rows_of_an_exchange(tmp_path: Path, store: Store, archive: Archive) -> None:
    began, _ = await archive._execute("TIME")  # type: ignore[misc]
    name = f"gen-{int(began)}-0a"
    wanted = [row(exchange=name, at=NOW, attempt=1, last=False), row(exchange=name, at=NOW, attempt=2)]
    noise = [row(at=NOW, error="x" * 280_000) for _ in range(2 * PAGE)]  # an entry of the stream each
    await shipped(tmp_path, store, [*noise, *wanted, *noise])
    assert [one.attempt for one in await archive.exchange(name)] == [1, 2]
    assert await archive.exchange(f"gen-{int(began)}-0b") == []
    assert await archive.exchange(f"gen-{int(began) + 60}-0a") == []
    assert await archive.exchange("resp_1") == []


async def test_what_is_read_for_one_exchange_is_bounded(
    tmp_path: Path, store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for one that never ended costs the store and this worker no more than that."""
    monkeypatch.setattr("gateway.telemetry.archive.MOST_BYTES", 200_000)
    monkeypatch.setattr("gateway.telemetry.archive.PAGE", 1)
    began, _ = await archive._execute("TIME")  # type: ignore[misc]
    near, far = f"gen-{int(began)}-0a", f"gen-{int(began)}-0b"
    noise = [row(at=NOW, error="x" * 160_000) for _ in range(3)]  # an entry of the stream each
    await shipped(tmp_path, store, [row(exchange=near, at=NOW), *noise, row(exchange=far, at=NOW)])
    assert await archive.exchange(near)
    assert await archive.exchange(far) == []


async def test_an_exchange_that_has_not_ended(tmp_path: Path, store: Store, archive: Archive) -> None:
    began, _ = await archive._execute("TIME")  # type: ignore[misc]
    name = f"gen-{int(began)}-0a"
    await shipped(tmp_path, store, [row(exchange=name, at=NOW, last=False)])
    assert await archive.exchange(name) == []


async def test_a_store_that_is_away(store: Store, archive: Archive) -> None:
    store.stop()
    with pytest.raises(OSError, match=r"No such file|refused"):
        await archive.spending("team", (TODAY,))


async def test_a_store_that_refuses() -> None:
    async with talker(lambda said: b"+PONG\r\n" if b"PING" in said else b"-LOADING not yet\r\n") as url:
        archive = Archive(url)
        with pytest.raises(OSError, match="rejected"):
            await archive.spending("team")
        archive.close()


async def test_many_questions_to_a_store_that_hangs_wait_no_longer_than_one() -> None:
    """One after the other, they would take longer than the guard."""
    async with talker(lambda said: b"") as url, asyncio.timeout(60):
        archive = Archive(url, within=0.2)
        failed = await asyncio.gather(*(archive.spending("team") for _ in range(200)), return_exceptions=True)
        assert all(isinstance(one, OSError) for one in failed)
        archive.close()
