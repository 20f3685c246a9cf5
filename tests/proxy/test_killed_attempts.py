"""What a killed worker had under way gets its row, once."""

from pathlib import Path
from typing import Any

import pytest

from gateway.proxy.killed_attempts import KilledAttempts, estimate, killed_row
from gateway.route.fleet import Fleet
from gateway.telemetry.figure_definitions import JUDGED
from gateway.telemetry.ledger import Ledger, read
from gateway.telemetry.sent_attempts import left_behind
from gateway.types import Endpoint, Price, Row
from gateway.types.endpoint import Cancel
from tests.support.rows import row
from tests.telemetry.test_sent_attempts import AT, Worker, attempt

PRICE = Price(input=1.0, output=2.0, cached_input=0.5, as_of="2026-11-30")
MODEL = "deepseek/deepseek-v3.2"


def endpoint(**changes: Any) -> Endpoint:
    return Endpoint("novita/fp8", "novita", "http://127.0.0.1:1/v1", "m", price=PRICE, **changes)


class Booking:
    """What books the attempts that others left in a folder."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        self.recorded: list[Row] = []
        fleets = {MODEL: Fleet([endpoint(cancel="stops")])}
        self.killed = KilledAttempts(folder, self.ledger, self.recorded.append, fleets)


def dead(folder: Path, *attempts: Any, after: float = 3.0) -> Worker:
    """A worker that died this long after it had sent these."""
    worker = Worker(folder)
    for one in attempts:
        worker.begin(one)
    worker.sent.tick(AT + after)
    return worker


async def test_attempts_under_way_are_booked_once(tmp_path: Path) -> None:
    worker = dead(tmp_path, attempt(1, user="u", key="k"), attempt(2))
    worker.die()
    one, two = Booking(tmp_path), Booking(tmp_path)
    await one.killed.book()
    await two.killed.book()
    rows = list(read(tmp_path))
    assert [(row.id, row.outcome, row.last) for row in rows] == [
        (attempt(1).id, "killed", True),
        (attempt(2).id, "killed", True),
    ]
    assert (one.recorded, two.recorded) == (rows, [])
    assert (rows[0].user, rows[0].key, rows[0].duration) == ("u", "k", 3.0)
    assert list(tmp_path.glob("*.sent")) == []


async def test_an_attempt_that_had_ended_is_not_booked_again(tmp_path: Path) -> None:
    """Its row was written, and then the worker died before it cleared the slot."""
    worker = dead(tmp_path, attempt(1), attempt(2))
    done = attempt(1)
    worker.ledger.append(row(id=done.id, exchange=done.exchange, at=AT))
    worker.die()
    booking = Booking(tmp_path)
    await booking.killed.book()
    assert [row.id for row in booking.recorded] == [attempt(2).id]


async def test_what_books_may_die_too(tmp_path: Path) -> None:
    """At the worst moment: the rows are written, the file is not deleted."""
    dead(tmp_path, attempt(1)).die()
    (found,) = left_behind(tmp_path)
    first = Booking(tmp_path)
    for one in found.attempts.values():
        first.ledger.append(killed_row(one, None, AT + 1, last=True))
    found.close("keep")
    second = Booking(tmp_path)
    await second.killed.book()
    assert second.recorded == []
    assert len(list(read(tmp_path))) == 1
    assert list(tmp_path.glob("*.sent")) == []


async def test_the_last_attempt_of_an_exchange_closes_it(tmp_path: Path) -> None:
    one = attempt(1)
    hedge = attempt(1, attempt=2, hedge=True)
    dead(tmp_path, one, hedge).die()
    booking = Booking(tmp_path)
    await booking.killed.book()
    assert [(row.attempt, row.last, row.hedge) for row in booking.recorded] == [(1, False, ""), (2, True, "cancelled")]


async def test_an_exchange_that_was_closed_is_not_closed_again(tmp_path: Path) -> None:
    one = attempt(1)
    worker = dead(tmp_path, one)
    worker.ledger.append(row(id=f"{one.exchange}-2", exchange=one.exchange, at=AT, attempt=2, last=True))
    worker.die()
    booking = Booking(tmp_path)
    await booking.killed.book()
    assert [row.last for row in booking.recorded] == [False]


@pytest.mark.parametrize(
    ("cancel", "streams", "waited", "prompt", "output"),
    [
        ("stops", True, 0.5, 0, 0),  # before its first token
        ("unknown", True, 0.5, 250, 0),
        ("bills", True, 0.5, 1_000, 200),
        ("stops", True, 3.0, 1_000, 100),  # in the middle of its answer
        ("unknown", True, 3.0, 1_000, 100),
        ("bills", True, 3.0, 1_000, 200),
        ("unknown", False, 3.0, 1_000, 200),
        ("stops", False, 3.0, 1_000, 0),
        ("stops", True, 9.0, 1_000, 400),  # longer than usual, because it was under way
        ("bills", True, 9.0, 1_000, 400),
        ("stops", True, 60.0, 1_000, 400),  # but not for ever: it may have stalled
    ],
)
def test_the_estimate(cancel: Cancel, streams: bool, waited: float, prompt: int, output: int) -> None:
    usage = estimate(attempt(streams=streams), endpoint(cancel=cancel), waited)
    assert (usage.prompt, usage.completion) == (prompt, output)
    assert usage.source == ("estimated" if prompt else "none")


def test_a_killed_row_has_a_cost_and_the_version_of_its_price() -> None:
    found = killed_row(attempt(), endpoint(cancel="stops"), AT + 3, last=True)
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (1_000, 250, 100)
    assert found.cost == 750 * 1_000_000 + 250 * 500_000 + 100 * 2_000_000
    assert (found.usage_source, found.price) == ("estimated", "2026-11-30 1/0.5/2")


def test_an_endpoint_that_is_gone_costs_nothing_known() -> None:
    found = killed_row(attempt(), None, AT + 3, last=True)
    assert (found.cost, found.usage_source, found.price) == (0, "none", "")


def test_a_killed_worker_is_no_fault_of_its_host() -> None:
    assert "killed" not in JUDGED
