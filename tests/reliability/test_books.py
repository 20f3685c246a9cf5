"""Attempts of hosts and ledger are paired, and what differs is found."""

from typing import Any

from gateway.types import Row
from tests.reliability.books import Account, compare
from tests.reliability.client import Answer
from tests.reliability.hosts import Entry
from tests.support.rows import row

HOST = "novita/fp8"


def entry(mark: int, cost: int, at: float = 100.0) -> Entry:
    return Entry(mark, HOST, at, "ok", cancelled=False, tokens=10, cost=cost)


def booked(exchange: str, cost: int, at: float = 100.0, **fields: Any) -> Row:
    return row(id=f"{exchange}-{at}", exchange=exchange, endpoint=HOST, cost=cost, at=at, **fields)


def answer(mark: int, exchange: str = "") -> Answer:
    return Answer(mark, 0.0, exchange=exchange)


def kinds(account: Account) -> dict[str, int]:
    return {kind: line.attempts for kind, line in account.lines.items() if line.attempts}


def test_what_agrees_is_equal_and_an_estimate_is_one() -> None:
    rows = [booked("gen-a", 5), booked("gen-b", 6, usage_source="estimated")]
    account = compare([entry(1, 5), entry(2, 7)], rows, [answer(1, "gen-a"), answer(2, "gen-b")])
    assert kinds(account) == {"equal": 1, "estimated": 1}
    assert (account.billed, account.booked) == (12, 11)


def test_each_difference_has_its_kind() -> None:
    rows = [
        booked("gen-a", 4),  # 5 were billed
        booked("gen-b", 0, usage_source="none", outcome="cut"),
        booked("gen-c", 3, usage_source="estimated"),  # nothing was billed
        booked("gen-d", 2),
    ]
    answers = [answer(number, f"gen-{letter}") for number, letter in enumerate("abcd")]
    account = compare([entry(0, 5), entry(1, 6), entry(9, 1, at=900.0)], rows, answers)
    assert kinds(account) == {"wrong": 1, "unbooked": 2, "estimated, not billed": 1, "invented": 1}
    assert account.unbooked == {"host ok; row cut costs 0": 6, "host ok; no row": 1}
    assert account.share("unbooked") == 7 / 12


def test_attempts_of_one_exchange_are_paired_by_cost_then_by_time() -> None:
    rows = [booked("gen-a", 7, at=103.0), booked("gen-a", 5, at=101.0), booked("gen-a", 0, at=102.0, outcome="server")]
    account = compare([entry(1, 5), entry(1, 7, at=103.5)], rows, [answer(1, "gen-a")])
    assert kinds(account) == {"equal": 2}


def test_an_exchange_without_a_known_id_is_paired_by_host_and_time() -> None:
    rows = [booked("gen-killed", 5, usage_source="estimated")]
    assert kinds(compare([entry(1, 6, at=101.0)], rows, [answer(1)])) == {"estimated": 1}
    late = compare([entry(1, 6, at=200.0)], rows, [answer(1)])
    assert kinds(late) == {"unbooked": 1, "estimated, not billed": 1}


def test_a_row_that_no_client_knows_comes_before_another_ones_that_cost_nothing() -> None:
    rows = [
        booked("gen-killed", 6, usage_source="estimated"),
        booked("gen-b", 0, usage_source="none", outcome="server"),
    ]
    assert kinds(compare([entry(1, 5)], rows, [answer(1), answer(1, "gen-b")])) == {"estimated": 1}
    assert kinds(compare([entry(1, 5)], rows[1:], [answer(1), answer(1, "gen-b")])) == {"unbooked": 1}


def test_a_question_that_several_ask_is_paired_with_its_own_row() -> None:
    """The worker of the first was killed: its client knows no id, and its row is found by host and time."""
    rows = [booked("gen-killed", 6, at=99.0, usage_source="estimated"), booked("gen-b", 7, at=105.0)]
    account = compare([entry(1, 5, at=100.0), entry(1, 7, at=105.5)], rows, [answer(1), answer(1, "gen-b")])
    assert kinds(account) == {"equal": 1, "estimated": 1}
    rows = [booked("gen-killed", 6, at=99.0, usage_source="estimated"), booked("gen-b", 7, at=190.0)]
    account = compare([entry(1, 5, at=100.0)], rows, [answer(1), answer(1, "gen-b")])
    assert kinds(account) == {"estimated": 1, "invented": 1}


def test_a_row_that_is_there_twice_is_counted() -> None:
    one = booked("gen-a", 5)
    assert compare([entry(1, 5)], [one, one], [answer(1, "gen-a")]).twice == 1
