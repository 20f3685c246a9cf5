"""Rows for other programs."""

import csv
import io
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.errors import ConfigError
from gateway.telemetry.ledger import Ledger, segments
from gateway.telemetry.ledger_export import COLUMNS, MONEY, Wanted, writer
from gateway.telemetry.ledger_rows import PAGE, ledger_rows
from gateway.telemetry.shipper import Shipper
from tests.support.rows import cached_row, row
from tests.telemetry.conftest import Store

AT = 1_796_040_000.125


def test_json_lines_have_every_field_and_exact_money() -> None:
    out = io.StringIO()
    with writer("jsonl", out, None) as write:
        write(row(at=AT, cost=2**53 + 1))
    found = json.loads(out.getvalue(), parse_float=str)
    assert tuple(found) == COLUMNS
    assert (found["cost"], found["time"]) == ("9007.199254740993", "2026-11-30T12:00:00.125Z")


def test_csv_has_the_same_columns() -> None:
    out = io.StringIO()
    with writer("csv", out, None) as write:
        write(row(at=AT, cost=1, error='a "quoted", long\nerror', repairs=("call", "markup")))
        write(cached_row(at=AT))
    first, second = csv.DictReader(io.StringIO(out.getvalue()))
    assert (first["cost"], first["error"], first["repairs"]) == (
        "0.000000000001",
        'a "quoted", long\nerror',
        "call markup",
    )
    assert (first["stream"], second["ttft"], second["outcome"]) == ("true", "", "cached")


def test_parquet_keeps_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    with writer("parquet", io.StringIO(), tmp_path / "rows.parquet") as write:
        write(row(at=AT, cost=1))
        write(cached_row(at=AT))
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert [str(value) for value in table["cost"].to_pylist()] == ["1E-12", "0E-12"]
    assert (table["prompt_tokens"].to_pylist()[0], table["stream"].to_pylist()[0]) == (1_000, True)
    assert all(str(table.schema.field(name).type) == "decimal128(38, 12)" for name in MONEY)


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install"), writer("parquet", io.StringIO(), tmp_path / "x"):
        pass
    with pytest.raises(ConfigError, match=r"--out"), writer("parquet", io.StringIO(), None):
        pass


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (Wanted(), True),
        (Wanted(since=AT, until=AT + 1), True),
        (Wanted(until=AT), False),
        (Wanted(since=AT + 1), False),
        (Wanted(key="team", endpoint="novita/fp8", model="deepseek/deepseek-v3.2", policy="balanced"), True),
        (Wanted(key="other"), False),
        (Wanted(endpoint="novita"), False),
    ],
)
def test_filters(wanted: Wanted, has: bool) -> None:
    assert wanted.has(row(at=AT)) is has


async def test_rows_of_disk_and_store_are_read_once_each(tmp_path: Path, store: Store) -> None:
    ledger, now = Ledger(tmp_path), 4_000_000_000.0
    kept, deleted = [row(at=now) for _ in range(3)], [row(at=now) for _ in range(400)]
    for one in deleted:
        ledger.append(one)
    ledger.close()
    (old,) = segments(tmp_path)
    for one in kept:
        ledger.append(one)
    shipper = Shipper(tmp_path, store.url, lambda _: None, clock=lambda: now)
    assert await shipper.ship()
    shipper.close()
    old.unlink()
    assert [one async for one in ledger_rows(tmp_path, store.url)] == kept + deleted
    assert [one async for one in ledger_rows(tmp_path, None)] == kept
    async with Redis.from_url(store.url) as client:
        await client.flushall()
    assert [one async for one in ledger_rows(tmp_path, store.url)] == kept


async def test_every_page_of_the_stores_rows_is_read(tmp_path: Path, store: Store) -> None:
    ledger, now = Ledger(tmp_path / "one"), 4_000_000_000.0
    shipped = [row(at=now) for _ in range(3 * PAGE)]
    shipper = Shipper(tmp_path / "one", store.url, lambda _: None, clock=lambda: now)
    for one in shipped:  # an entry of the stream each
        ledger.append(one)
        assert await shipper.ship()
    shipper.close()
    assert [one async for one in ledger_rows(tmp_path / "other", store.url)] == shipped


async def test_a_store_that_is_down_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere|No such file"):
        [one async for one in ledger_rows(tmp_path, "unix:///nowhere")]
