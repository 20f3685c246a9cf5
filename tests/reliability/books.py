"""The ledger against the hosts' own books, attempt by attempt.

    hosts' Entry (mark, host, time, tokens, cost) ──mark = exchange──┐
    the client's Answer (mark, exchange)          ──────────────────┼──> Account: cost and number of each kind
    ledger's Row (exchange, endpoint, time, cost) ──────────────────┘

Attempts of one mark at one host are paired by cost, then by time; several exchanges may have one mark, those of one
cached question. What is left over belongs to exchanges that the client knows no id of, because their worker was killed
before it sent one: those are paired by host and time, with rows that cost something.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.types import Row
from tests.reliability.client import Answer
from tests.reliability.hosts import Entry

Pair = tuple[Entry | None, Row | None]
UNKNOWN = -1  # the mark of rows of exchanges that no client knows
SHOWN = 8  # examples of each kind
SLACK = 30.0  # seconds between a row's time and the host's
KINDS = {
    "equal": "booked as the host counts it",
    "estimated": "booked as an estimate, and marked as one",
    "wrong": "booked as the host's figure, and different from it",
    "unbooked": "billed by a host, and not in the ledger",
    "invented": "in the ledger as a host's figure, and billed by none",
    "estimated, not billed": "in the ledger as an estimate, and billed by no host",
}


@dataclass(slots=True)
class Line:
    """Attempts of one kind. Money in 1e-12 USD."""

    attempts: int = 0
    hosts: int = 0
    ledger: int = 0


@dataclass(slots=True)
class Account:
    """`lines` by kind of `KINDS`; `unbooked` by the fault that the host made, `at` of each for a report."""

    lines: dict[str, Line] = field(default_factory=lambda: {kind: Line() for kind in KINDS})
    unbooked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    twice: int = 0  # rows whose id was there before
    examples: list[str] = field(default_factory=list)

    @property
    def billed(self) -> int:
        return sum(line.hosts for line in self.lines.values())

    @property
    def booked(self) -> int:
        return sum(line.ledger for line in self.lines.values())

    def share(self, kind: str) -> float:
        """Of what the hosts billed: the part that is of this kind."""
        line = self.lines[kind]
        return max(line.hosts, line.ledger) / self.billed if self.billed else 0.0

    def record(self) -> dict[str, Any]:
        """As JSON, money in USD."""
        lines = {
            kind: {"attempts": line.attempts, "hosts_usd": line.hosts / 1e12, "ledger_usd": line.ledger / 1e12}
            for kind, line in self.lines.items()
        }
        return {
            "hosts_usd": self.billed / 1e12,
            "ledger_usd": self.booked / 1e12,
            "kinds": lines,
            "unbooked_share": self.share("unbooked"),
            "unbooked_by_fault_usd": {fault: cost / 1e12 for fault, cost in self.unbooked.items()},
            "rows_twice": self.twice,
            "examples": self.examples,
        }


def compare(entries: Iterable[Entry], rows: Iterable[Row], answers: Iterable[Answer]) -> Account:
    """The account of one trial. Rows without an attempt, as of cached answers, are left out."""
    account = Account()
    marks = {answer.exchange: answer.mark for answer in answers if answer.exchange}
    paired = _Pairs()
    seen: set[str] = set()
    for entry in entries:
        paired.entries[entry.mark, entry.host].append(entry)
    for row in rows:
        account.twice += row.id in seen
        seen.add(row.id)
        if row.attempt:
            paired.rows[marks.get(row.exchange, UNKNOWN), row.endpoint].append(row)
    for pair in paired.all():
        _book(account, *pair)
    return account


class _Pairs:
    """Entries and rows by (mark, host)."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, str], list[Entry]] = defaultdict(list)
        self.rows: dict[tuple[int, str], list[Row]] = defaultdict(list)

    def all(self) -> Iterator[Pair]:
        """Each entry and each row once, alone where it has no counterpart."""
        left_entries: dict[str, list[Entry]] = defaultdict(list)
        left_rows: dict[str, list[Row]] = defaultdict(list)
        unpaid: dict[str, list[tuple[Entry, Row]]] = defaultdict(list)
        for key in self.entries.keys() | self.rows.keys():
            pairs, entries, rows = _by_time(self.entries[key], self.rows[key])
            for entry, row in pairs:
                if entry.cost and not row.cost:
                    unpaid[key[1]].append((entry, row))
                else:
                    yield entry, row
            left_entries[key[1]] += entries
            left_rows[key[1]] += (row for row in rows if row.cost)
        for host in left_entries.keys() | left_rows.keys():
            found = self._of_unknown(host, unpaid[host])
            yield from found
            used = {id(row) for _, row in found}
            rows = [row for row in left_rows[host] if id(row) not in used]
            pairs, entries, rows = _by_time(left_entries[host], rows)
            yield from pairs
            for entry in entries:
                yield entry, None
            for row in rows:
                yield None, row

    def _of_unknown(self, host: str, unpaid: Sequence[tuple[Entry, Row]]) -> list[tuple[Entry, Row]]:
        """Entries whose question has rows that cost nothing only: their row may be that of an exchange that no client
        knows, as of a killed worker."""
        rows = [row for row in self.rows[UNKNOWN, host] if row.cost]
        pairs, entries, _ = _by_time([entry for entry, _ in unpaid], rows)
        left = {id(entry) for entry in entries}
        return pairs + [pair for pair in unpaid if id(pair[0]) in left]


def _by_time(entries: Sequence[Entry], rows: Sequence[Row]) -> tuple[list[tuple[Entry, Row]], list[Entry], list[Row]]:
    """Pairs of an entry and a row of about its time, and the rest of both. Of all that are possible, those of the same
    cost come first, then those that cost something, then the nearest."""
    near = [(entry, row) for entry in entries for row in rows if abs(row.at - entry.at) < SLACK]
    pairs: list[tuple[Entry, Row]] = []
    free_entries, free_rows = {id(entry): entry for entry in entries}, {id(row): row for row in rows}
    for entry, row in sorted(near, key=lambda pair: _distance(*pair)):
        if id(entry) in free_entries and id(row) in free_rows:
            pairs.append((free_entries.pop(id(entry)), free_rows.pop(id(row))))
    return pairs, [*free_entries.values()], [*free_rows.values()]


def _distance(entry: Entry, row: Row) -> tuple[bool, bool, float]:
    return row.cost != entry.cost, not row.cost, abs(row.at - entry.at)


def _book(account: Account, entry: Entry | None, row: Row | None) -> None:
    billed, booked = entry.cost if entry else 0, row.cost if row else 0
    if not billed and not booked:
        return
    kind = _kind(billed, booked, row)
    line = account.lines[kind]
    line.attempts += 1
    line.hosts += billed
    line.ledger += booked
    if entry and kind == "unbooked":
        account.unbooked[_fault(entry, row)] += billed
    if kind in ("wrong", "invented", "unbooked") and line.attempts <= SHOWN:
        account.examples.append(f"{kind}: {entry} {_shown(row)}")


def _kind(billed: int, booked: int, row: Row | None) -> str:
    estimated = row is not None and row.usage_source in ("counted", "estimated")
    if not booked:
        return "unbooked"
    if not billed:
        return "estimated, not billed" if estimated else "invented"
    if estimated:
        return "estimated"
    return "equal" if billed == booked else "wrong"


def _fault(entry: Entry, row: Row | None) -> str:
    how = f"host {entry.fault}{', connection closed' if entry.cancelled else ''}"
    return f"{how}; {f'row {row.outcome} costs 0' if row else 'no row'}"


def _shown(row: Row | None) -> str:
    return f"{row.id} {row.outcome} {row.usage_source} {row.cost} {row.error[:80]}" if row else "no row"
