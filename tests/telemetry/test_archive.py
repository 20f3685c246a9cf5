import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from gateway.telemetry.archive import PAGE, Archive, Uptime
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.rollups import DAY
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


async def test_uptime_counts_what_the_endpoint_is_to_blame_for(tmp_path: Path, store: Store, archive: Archive) -> None:
    def ended(outcome: str, ago: float = 0.0, endpoint: str = "novita/fp8") -> Row:
        return row(at=NOW - ago, outcome=outcome, endpoint=endpoint)

    recent = [ended(outcome) for outcome in ("ok", "ok", "ok", "cut", "rate_limited", "malformed", "cancelled")]
    earlier = [ended("server", 1_200), ended("server", 40_000), *[ended("ok", 40_000)] * 4]
    others = [ended("rate_limited", endpoint="a/b"), ended("ok", 2 * DAY, "old/one")]
    await shipped(tmp_path, store, [*recent, *earlier, *others])
    assert await archive.uptimes(NOW) == {"novita/fp8": Uptime(75.0, 60.0, 70.0)}


async def test_a_window_of_uptime_starts_with_its_first_slot(tmp_path: Path, store: Store, archive: Archive) -> None:
    slots = (0, 1, 2, 6, 7, 288, 289)  # five minutes each, before the newest
    await shipped(tmp_path, store, [row(at=NOW - 300 * ago, endpoint=f"slot/{ago}") for ago in slots])
    uptimes = await archive.uptimes(NOW)
    assert [ago for ago in slots if uptimes.get(f"slot/{ago}", Uptime()).last_5m == 100] == [0, 1]
    assert [ago for ago in slots if uptimes.get(f"slot/{ago}", Uptime()).last_30m == 100] == [0, 1, 2, 6]
    assert [ago for ago in slots if uptimes.get(f"slot/{ago}", Uptime()).last_1d == 100] == [0, 1, 2, 6, 7, 288]


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
    noise = [row(at=NOW, error="x" * 70_000) for _ in range(2 * PAGE)]  # an entry of the stream each
    await shipped(tmp_path, store, [*noise, *wanted, *noise])
    assert [one.attempt for one in await archive.exchange(name)] == [1, 2]
    assert await archive.exchange(f"gen-{int(began)}-0b") == []
    assert await archive.exchange(f"gen-{int(began) + 60}-0a") == []
    assert await archive.exchange("resp_1") == []


async def test_what_is_read_for_one_exchange_is_bounded(
    tmp_path: Path, store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for one that never ended costs the store and this worker no more than that."""
    monkeypatch.setattr("gateway.telemetry.archive.MOST_BYTES", 50_000)
    monkeypatch.setattr("gateway.telemetry.archive.PAGE", 1)
    began, _ = await archive._execute("TIME")  # type: ignore[misc]
    near, far = f"gen-{int(began)}-0a", f"gen-{int(began)}-0b"
    noise = [row(at=NOW, error="x" * 40_000) for _ in range(3)]  # an entry of the stream each
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
