"""What an invoice is compared with."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from gateway.errors import ConfigError
from gateway.telemetry.reconciliation import Amounts, Books, HostDay, differences, read_invoice
from gateway.types import Row
from tests.support.rows import row

DAY = date(2026, 11, 30)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
WHERE = HostDay("novita", DAY)
CENT = 10**10  # 1e-12 USD


def invoice(text: str, **names: str) -> dict[HostDay, Amounts]:
    return read_invoice(io.StringIO(text), "bill.csv", names)


def test_lines_of_a_host_and_day_add_up() -> None:
    found = invoice(
        "host,day,prompt_tokens,completion_tokens,cost\n"
        "novita,2026-11-30,10,2,0.5\n"
        "novita,2026-11-30T23:59:59Z,5,1,$0.25\n"
        "novita,2026-12-01T01:00:00+02:00,1,1,1\n"
    )
    assert found == {WHERE: Amounts(16, 4, Decimal("1.75"))}


def test_columns_may_have_other_names_and_tokens_may_be_missing() -> None:
    found = invoice("provider,date,usd\nnovita,2026-11-30,1\n", host="provider", day="date", cost="usd")
    assert found == {WHERE: Amounts(None, None, Decimal(1))}


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ConfigError, match=r"bill.csv:1: there is no column cost"):
        invoice("host,day\n")


@pytest.mark.parametrize(
    "line",
    ["novita,2026-11-30,x,1,1", "novita,2026-11-30,1,1,nan", "novita,30.11.,1,1,1", ",2026-11-30,1,1,1", "novita"],
)
def test_a_bad_line_is_named_by_its_number(line: str) -> None:
    with pytest.raises(ConfigError, match=r"bill.csv:3: "):
        invoice(f"host,day,prompt_tokens,completion_tokens,cost\nnovita,2026-11-30,1,1,1\n{line}\n")


def compared(bill: Amounts, *rows: Row, tolerance: str = "0.01") -> list[tuple[str, Decimal, Decimal]]:
    books = Books([WHERE])
    for one in rows:
        books.add(one)
    return [(one.what, one.invoiced, one.booked) for one in differences({WHERE: bill}, books, Decimal(tolerance))]


def test_equal_books_have_no_difference() -> None:
    rows = [row(at=NOON, cost=CENT), row(at=NOON, cost=CENT), row(at=NOON + 86_400), row(at=NOON, provider="other")]
    rows[3] = row(at=NOON, provider="other", endpoint="other/fp8")
    assert compared(Amounts(2_000, 202, Decimal("0.02")), *rows, tolerance="0") == []


def test_differences_within_the_tolerance_are_left_out() -> None:
    bill = Amounts(1_009, 200, Decimal("1.009"))
    assert compared(bill, row(at=NOON, cost=100 * CENT)) == [("completion_tokens", Decimal(200), Decimal(101))]


def test_half_a_cent_is_no_difference() -> None:
    assert compared(Amounts(None, None, Decimal("0.012")), row(at=NOON, cost=CENT)) == []


def test_what_was_not_counted_by_the_host_is_a_reason() -> None:
    rows = [
        row(at=NOON, outcome="killed", usage_source="estimated", cost=1),
        row(at=NOON, outcome="cancelled", usage_source="estimated", cost=2),
        row(at=NOON, outcome="cancelled", hedge="lost", usage_source="estimated", cost=3),
        row(at=NOON, outcome="cut", usage_source="estimated", cost=4),
        row(at=NOON, usage_source="counted", cost=5),
        row(at=NOON),
    ]
    books = Books([WHERE])
    for one in rows:
        books.add(one)
    reasons = {"killed": (1, 1), "cancelled": (1, 2), "hedge lost": (1, 3), "estimated": (1, 4), "counted": (1, 5)}
    assert books.days[WHERE].unsure == reasons


def test_an_invoice_may_name_endpoints() -> None:
    where = HostDay("novita/fp8", DAY)
    books = Books([where])
    books.add(row(at=NOON))
    assert books.days[where].prompt == 1_000
