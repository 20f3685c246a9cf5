"""Compares a host's invoice with the ledger, per host and UTC day.

    INVOICE.csv ──> Invoiced: tokens and USD by host and day ─┐
    rows ──> Booked: the same, and by the reasons below ──────┴──> Difference, where one exceeds the tolerance

Columns of the invoice: `host` (provider or endpoint id), `day` (2026-11-30, or a time), `prompt_tokens`,
`completion_tokens`, `cost` in USD. Other names are mapped. Without a token column only cost is compared.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import IO, NamedTuple

from gateway.errors import ConfigError
from gateway.types import Row

COLUMNS = ("host", "day", "prompt_tokens", "completion_tokens", "cost")
REQUIRED = ("host", "day", "cost")
REASONS = ("cancelled", "hedge lost", "killed", "counted", "estimated")  # why a host may bill something else


class HostDay(NamedTuple):
    host: str
    day: date


class Amounts(NamedTuple):
    """Tokens, and USD. None: the invoice does not say."""

    prompt: int | None
    completion: int | None
    usd: Decimal


@dataclass(slots=True)
class Booked:
    """One host's day in the ledger. `unsure`: attempts and USD by reason."""

    prompt: int = 0
    completion: int = 0
    pico: int = 0
    unsure: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.prompt += row.prompt_tokens
        self.completion += row.completion_tokens
        self.pico += row.cost
        if reason := _reason(row):
            attempts, pico = self.unsure.get(reason, (0, 0))
            self.unsure[reason] = attempts + 1, pico + row.cost

    @property
    def usd(self) -> Decimal:
        return Decimal(self.pico).scaleb(-12)


class Difference(NamedTuple):
    """A host's day whose figures differ. `what`: `cost`, `prompt_tokens` or `completion_tokens`."""

    where: HostDay
    what: str
    invoiced: Decimal
    booked: Decimal
    reasons: Mapping[str, tuple[int, int]]


def read_invoice(file: IO[str], name: str, names: Mapping[str, str]) -> dict[HostDay, Amounts]:
    """The invoice by host and day; lines of one host and day are added up. `names`: the file's name of each column.
    Raises ConfigError with the number of each bad line."""
    reader = csv.DictReader(file)
    columns = {column: names.get(column, column) for column in COLUMNS}
    found = reader.fieldnames or ()
    if missing := [columns[one] for one in REQUIRED if columns[one] not in found]:
        raise ConfigError(f"{name}:1: there is no column {', '.join(missing)}; map it, as in --column cost=amount_usd")
    total: dict[HostDay, Amounts] = {}
    problems = []
    for line in reader:
        try:
            where, amounts = _line(line, columns)
        except ValueError as error:
            problems.append(f"{name}:{reader.line_num}: {error}")
            continue
        total[where] = _plus(total[where], amounts) if where in total else amounts
    if problems:
        raise ConfigError(*problems[:20])
    return total


class Books:
    """The ledger by host and day, of the invoice's hosts and days only."""

    def __init__(self, invoiced: Iterable[HostDay]) -> None:
        self.days = {where: Booked() for where in invoiced}

    def __repr__(self) -> str:
        return f"<Books of {len(self.days)} days>"

    def add(self, row: Row) -> None:
        day = datetime.fromtimestamp(row.at, UTC).date()
        for host in {row.endpoint, row.provider}:
            if (booked := self.days.get(HostDay(host, day))) is not None:
                booked.add(row)


def differences(invoice: Mapping[HostDay, Amounts], books: Books, tolerance: Decimal) -> Iterator[Difference]:
    """Each figure that differs by more than `tolerance`, a share of the invoice's figure. Half a cent never does."""
    for where in sorted(invoice):
        bill, own = invoice[where], books.days[where]
        figures: tuple[tuple[str, Decimal | int | None, Decimal | int, Decimal], ...] = (
            ("cost", bill.usd, own.usd, Decimal("0.005")),
            ("prompt_tokens", bill.prompt, own.prompt, Decimal(0)),
            ("completion_tokens", bill.completion, own.completion, Decimal(0)),
        )
        for what, said, counted, least in figures:
            if said is not None and abs(Decimal(said) - counted) > max(least, tolerance * said):
                yield Difference(where, what, Decimal(said), Decimal(counted), own.unsure)


def _reason(row: Row) -> str:
    if row.outcome == "killed":
        return "killed"
    if row.hedge in ("lost", "beaten"):
        return "hedge lost"
    if row.outcome == "cancelled":
        return "cancelled"
    return row.usage_source if row.usage_source in ("estimated", "counted") else ""


def _line(line: Mapping[str | None, str | None], columns: Mapping[str, str]) -> tuple[HostDay, Amounts]:
    """Raises ValueError, in words."""
    texts = {column: (line.get(name) or "").strip() for column, name in columns.items()}
    if not texts["host"]:
        raise ValueError(f"`{columns['host']}` is empty")
    tokens = [_tokens(texts[one], columns[one]) for one in ("prompt_tokens", "completion_tokens")]
    try:
        usd = Decimal(texts["cost"].removeprefix("$"))
    except InvalidOperation:
        usd = Decimal("nan")
    if not usd.is_finite():
        raise ValueError(f"`{columns['cost']}` is not an amount in USD: {texts['cost'][:40]!r}")
    return HostDay(texts["host"], _day(texts["day"], columns["day"])), Amounts(tokens[0], tokens[1], usd)


def _tokens(text: str, column: str) -> int | None:
    if text and not text.isdecimal():
        raise ValueError(f"`{column}` is not a number of tokens: {text[:40]!r}")
    return int(text) if text else None


def _day(text: str, column: str) -> date:
    """A day; of a time its day in UTC, where no zone is given it is one in UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{column}` is not a day as in 2026-11-30: {text[:40]!r}") from None
    return (time if time.tzinfo is None else time.astimezone(UTC)).date()


def _plus(one: Amounts, other: Amounts) -> Amounts:
    prompt = None if one.prompt is None or other.prompt is None else one.prompt + other.prompt
    completion = None if one.completion is None or other.completion is None else one.completion + other.completion
    return Amounts(prompt, completion, one.usd + other.usd)
