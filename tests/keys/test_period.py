"""Minutes, days and months in UTC, whatever the machine's time zone."""

import time
from datetime import UTC, datetime

import pytest

from gateway.config import LimitName
from gateway.keys.period import period_of, units


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("name", "now", "start", "end"),
    [
        ("requests_per_minute", "2026-11-30 23:59:59.9", "2026-11-30 23:59", "2026-12-01 00:00"),
        ("tokens_per_minute", "2026-12-01 00:00:00", "2026-12-01 00:00", "2026-12-01 00:01"),
        ("usd_per_day", "2026-11-30 23:59:59.9", "2026-11-30", "2026-12-01"),
        ("usd_per_day", "2026-12-01 00:00:00", "2026-12-01", "2026-12-02"),
        ("usd_per_month", "2026-11-30 23:59:59.9", "2026-11-01", "2026-12-01"),
        ("usd_per_month", "2026-12-31 23:59:59.9", "2026-12-01", "2027-01-01"),
        ("usd_per_month", "2027-01-01 00:00:00", "2027-01-01", "2027-02-01"),
        ("usd_per_month", "2028-02-29 12:00:00", "2028-02-01", "2028-03-01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_windows_begin_and_end_in_utc(
    monkeypatch: pytest.MonkeyPatch, zone: str, name: LimitName, now: str, start: str, end: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert period_of(name, at(now)) == (int(at(start)), int(at(end)))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_budgets_count_in_billionths_of_a_dollar() -> None:
    assert [units("usd_per_day", 1.5), units("requests_per_minute", 60.0)] == [1_500_000_000, 60]
