import os
from pathlib import Path

import pytest

from gateway.telemetry import ledger_search
from gateway.telemetry.ledger import Ledger, segments
from gateway.telemetry.ledger_search import CHUNK, LONGEST, began, find
from gateway.types import Row
from tests.support.rows import row

AT = 1_763_764_498.0
EXCHANGE = f"gen-{int(AT)}-00000000000000000abc"


def write(folder: Path, attempts: int = 1, *, at: float = AT, exchange: str = EXCHANGE) -> None:
    """An exchange of so many attempts, each a second long."""
    ledger = Ledger(folder)
    for number in range(1, attempts + 1):
        last = number == attempts
        outcome = "ok" if last else "server"
        ledger.append(row(exchange=exchange, at=at, duration=1.0, attempt=number, last=last, outcome=outcome))
    ledger.close()


def age(folder: Path) -> None:
    """As if each segment had been opened, and written to last, when its first and last row say."""
    for number, path in enumerate(segments(folder)):
        path = path.rename(path.with_name(f"{int(AT * 1000) + number - 5000:013d}-{number}-abcdef.jsonl"))
        os.utime(path, (AT + 1, AT + 1))


def noise(folder: Path, count: int, since: float = AT - 5_000.0) -> None:
    """Other exchanges, one after the other, a second apart."""
    ledger = Ledger(folder)
    for second in range(count):
        ledger.append(row(at=since + second, duration=0.5, error="x" * 200))
    ledger.close()


def test_all_attempts_of_an_exchange(tmp_path: Path) -> None:
    write(tmp_path, 3)
    age(tmp_path)
    assert [(one.attempt, one.outcome) for one in find(tmp_path, EXCHANGE)] == [(1, "server"), (2, "server"), (3, "ok")]


def test_in_the_middle_of_a_long_segment(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for second in range(-5_000, 5_000):
        ledger.append(row(at=AT + second, duration=0.5, error="x" * 200))
        if second == 0:
            ledger.append(row(exchange=EXCHANGE, at=AT, duration=0.5))
    ledger.close()
    age(tmp_path)
    (segment,) = segments(tmp_path)
    os.utime(segment, (AT + 5_000, AT + 5_000))
    assert segment.stat().st_size > 10 * CHUNK
    assert [one.exchange for one in find(tmp_path, EXCHANGE)] == [EXCHANGE]


def test_over_the_border_of_two_segments(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, segment_bytes=1_000)
    for number in (1, 2, 3):
        ledger.append(row(exchange=EXCHANGE, at=AT + number, attempt=number, last=number == 3))
    ledger.close()
    assert len(segments(tmp_path)) == 3
    age(tmp_path)
    assert [one.attempt for one in find(tmp_path, EXCHANGE)] == [1, 2, 3]


def test_an_exchange_that_has_not_ended_is_not_there_yet(tmp_path: Path) -> None:
    Ledger(tmp_path).append(row(exchange=EXCHANGE, at=AT, last=False))
    age(tmp_path)
    assert find(tmp_path, EXCHANGE) == []


def test_a_torn_line_hides_nothing_else(tmp_path: Path) -> None:
    write(tmp_path)
    (segment,) = segments(tmp_path)
    torn = f'{{"id":"x","exchange":"{EXCHANGE}"'.encode()
    segment.write_bytes(torn + b"\n\x00\x00\n" + segment.read_bytes() + torn)
    age(tmp_path)
    assert len(find(tmp_path, EXCHANGE)) == 1


@pytest.mark.parametrize("exchange", ["", "gen-", "gen-1-", "x", f"{EXCHANGE}x", "GEN-1-a", 'gen-1-"', "gen-²-1"])
def test_what_is_no_id(tmp_path: Path, exchange: str) -> None:
    write(tmp_path)
    assert began(exchange) is None
    assert find(tmp_path, exchange) == []


def test_what_is_not_there(tmp_path: Path) -> None:
    assert find(tmp_path, EXCHANGE) == []
    noise(tmp_path, 100)
    assert find(tmp_path, EXCHANGE) == []
    assert find(tmp_path, f"gen-99999999999-{0:020x}") == []


def later(folder: Path, chunks: int, *, at: float = AT, step: float = 0.001) -> Ledger:
    """A ledger with rows of others behind the exchange's beginning, of so many chunks."""
    ledger = Ledger(folder)
    written = 0
    while written < chunks * CHUNK:
        one = row(at=at, duration=0.0, error="x" * 1_000)
        ledger.append(one)
        at += step
        written += 1_000
    return ledger


def test_an_exchange_that_ends_behind_much_of_others(tmp_path: Path) -> None:
    """Its last row is far behind the place where its first one could be."""
    later(tmp_path, 3).append(row(exchange=EXCHANGE, at=AT + 60, duration=60.0))
    age(tmp_path)
    assert [one.exchange for one in find(tmp_path, EXCHANGE)] == [EXCHANGE]


def test_rows_of_one_exchange_far_from_each_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(row(exchange=EXCHANGE, at=AT, attempt=1, last=False))
    ledger.close()
    later(tmp_path, 3).append(row(exchange=EXCHANGE, at=AT + 60, attempt=2))
    age(tmp_path)
    assert [one.attempt for one in find(tmp_path, EXCHANGE)] == [1, 2]


def test_an_hour_later_nothing_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(tmp_path, 3, at=AT + LONGEST + 1)
    age(tmp_path)
    read: list[int] = []

    def noted(chunk: bytes, exchange: str) -> list[Row]:
        read.append(len(chunk))
        return []

    monkeypatch.setattr(ledger_search, "rows_in", noted)
    assert find(tmp_path, EXCHANGE) == []
    assert len(read) == 1


@pytest.mark.parametrize(
    ("start", "written", "found"),
    [(0, -10, True), (0, -11, False), (3_600, 0, True), (3_601, 0, False)],
)
def test_a_segment_is_read_where_it_may_hold_the_exchange(
    tmp_path: Path, start: int, written: int, found: bool
) -> None:
    """By its first and last moment, in seconds from the exchange's beginning."""
    write(tmp_path)
    path = segments(tmp_path)[0].rename(tmp_path / f"{int(AT + start) * 1000:013d}-1-abcdef.jsonl")
    os.utime(path, (AT + written, AT + written))
    before = len(os.listdir("/dev/fd"))
    assert bool(find(tmp_path, EXCHANGE)) is found
    assert len(os.listdir("/dev/fd")) == before


def test_what_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(tmp_path, 3).append(row(exchange=EXCHANGE, at=AT + 60, duration=60.0))
    age(tmp_path)
    monkeypatch.setattr(ledger_search, "MOST_BYTES", CHUNK)
    assert find(tmp_path, EXCHANGE) == []


@pytest.mark.parametrize("strange", ["fifo", "folder"])
def test_what_is_no_segment_holds_up_no_search(tmp_path: Path, strange: str) -> None:
    write(tmp_path)
    age(tmp_path)
    {"fifo": os.mkfifo, "folder": os.mkdir}[strange](tmp_path / f"{int(AT * 1000) - 9000:013d}-1-abc.jsonl")
    assert len(find(tmp_path, EXCHANGE)) == 1
