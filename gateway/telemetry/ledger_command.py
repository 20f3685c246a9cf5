"""`gateway ledger export` and `gateway ledger reconcile`: what they read, and what they print."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import IO

from rich import box
from rich.table import Table

from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger_export import Format, Wanted, writer
from gateway.telemetry.ledger_rows import ledger_rows
from gateway.telemetry.reconciliation import Books, Difference, differences, read_invoice
from gateway.terminal import console, printed
from gateway.types import PICO, Row

Warn = Callable[[str], None]


def exported(settings: Settings, wanted: Wanted, kind: Format, out: IO[str], path: Path | None, *, local: bool) -> int:
    """Writes the rows that are wanted. Returns how many they were."""

    async def run() -> int:
        count = 0
        with writer(kind, out, path) as write:
            async for row in _rows(settings, local):
                if wanted.has(row):
                    write(row)
                    count += 1
        return count

    return asyncio.run(run())


def reconciled(
    settings: Settings, invoice: Path, names: Mapping[str, str], tolerance: float, *, local: bool
) -> tuple[list[Difference], str]:
    """What differs, and the report for a terminal of 80 columns. Raises ConfigError for a bad invoice."""
    try:
        with invoice.open(encoding="utf-8-sig", newline="") as file:
            bills = read_invoice(file, str(invoice), names)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{invoice}: {error}") from None
    books = Books(bills)

    async def run() -> None:
        async for row in _rows(settings, local):
            books.add(row)

    asyncio.run(run())
    found = list(differences(bills, books, Decimal(str(tolerance))))
    return found, _report(found, len(bills))


async def _rows(settings: Settings, local: bool) -> AsyncIterator[Row]:
    folder = StateFolder(settings.state)
    url = None if local else settings.redis_url
    if not local and url is None and folder.socket.exists():
        url = f"unix://{folder.socket}"  # of the embedded store, while a gateway runs
    try:
        async for row in ledger_rows(folder.ledger, url):
            yield row
    except OSError as error:
        raise ConfigError(f"the store cannot be read: {error}; --local reads this machine's files only") from None


def _report(found: list[Difference], days: int) -> str:
    if not found:
        return f"{days} days of hosts: the invoice and the ledger agree\n"
    output = console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("host, day", overflow="fold")
    for name in ("invoice", "ledger", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for where, what, invoiced, booked, _ in found:
        unit = what.removesuffix("_tokens") if what != "cost" else "USD"
        cells = [f"{one:,.4f}" if what == "cost" else f"{one:,.0f}" for one in (invoiced, booked, invoiced - booked)]
        table.add_row(f"{where.host} {where.day} {unit}", *cells)
    output.print(table)
    output.print("Booked without the host's count, so that its bill may differ:")
    for where, reasons in {one.where: one.reasons for one in found}.items():
        said = [f"{count} {reason} ({pico / PICO:.4f} USD)" for reason, (count, pico) in sorted(reasons.items())]
        output.print(f"  {where.host} {where.day}: {', '.join(said) or 'nothing: are rows or prices missing?'}")
    return printed(output)
