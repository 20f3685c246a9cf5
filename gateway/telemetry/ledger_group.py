"""The command `gateway ledger`: its flags. `ledger_command` does the work."""

import os
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import click

from gateway.config import Settings, load

PATH = click.Path(path_type=Path)
MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group()
def ledger() -> None:
    """Export the ledger, or compare it with an invoice.

    Example: gateway ledger export --format csv --out rows.csv
    """


@ledger.command()
@click.option("--format", "kind", type=click.Choice(("jsonl", "csv", "parquet")), default="jsonl", help="Format.")
@click.option("--out", type=PATH, metavar="FILE", help="File to write; default: standard output.")
@click.option("--since", type=MOMENT, metavar="TIME", help="Start: a day or a time in UTC, as in 2026-11-30T09:00.")
@click.option("--until", type=MOMENT, metavar="TIME", help="End, exclusive.")
@click.option("--key", metavar="NAME", help="Only requests with this key.")
@click.option("--endpoint", metavar="ID", help="Only attempts at this endpoint.")
@click.option("--model", metavar="ID", help="Only requests for this model.")
@click.option("--policy", metavar="NAME", help="Only requests under this policy.")
@click.option("--local", is_flag=True, help="Read this machine's files only, not the store.")
@click.option("--config", type=PATH, help="gateway.yaml; default: ./gateway.yaml if it exists.")
@click.option("--state", type=PATH, help="State folder with the ledger; default as for serve.")
def export(kind: Any, out: Path | None, local: bool, config: Path | None, state: Path | None, **filters: Any) -> None:
    """Write one row for every attempt.

    Rows of this machine come first, then those that only the store has.

    Example: gateway ledger export --format csv --since 2026-11-01 --out nov.csv
    """
    from gateway.telemetry.ledger_command import exported
    from gateway.telemetry.ledger_export import Wanted

    times = {name: moment.replace(tzinfo=UTC).timestamp() for name in ("since", "until") if (moment := filters[name])}
    wanted, settings = Wanted(**{**filters, **times}), _ledger_settings(config, state)
    with click.open_file(str(out or "-") if kind != "parquet" else "-", "w", encoding="utf-8") as file:
        count = exported(settings, wanted, kind, file, out, local=local)
    click.echo(f"{count} rows", err=True)


@ledger.command()
@click.argument("invoice", type=PATH)
@click.option(
    "--column", "columns", multiple=True, metavar="NAME=COLUMN", help="The invoice's name of a column; repeatable."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    default=1.0,
    help="Differences up to this percentage are not listed.",
)
@click.option("--local", is_flag=True, help="Read this machine's files only, not the store.")
@click.option("--config", type=PATH, help="gateway.yaml; default: ./gateway.yaml if it exists.")
@click.option("--state", type=PATH, help="State folder with the ledger; default as for serve.")
def reconcile(
    invoice: Path, columns: tuple[str, ...], tolerance: float, local: bool, config: Path | None, state: Path | None
) -> int:
    """Compare a host's invoice with the ledger.

    The invoice is a CSV file with the columns host, day (UTC) and cost (USD), and optionally prompt_tokens and
    completion_tokens. Exit code 1 if a host's day differs.

    Example: gateway ledger reconcile novita.csv --column cost=amount_usd
    """
    from gateway.telemetry.ledger_command import reconciled
    from gateway.telemetry.reconciliation import COLUMNS

    names = dict(column.split("=", 1) for column in columns if "=" in column)
    if len(names) != len(columns) or not names.keys() <= set(COLUMNS):
        raise click.UsageError(f"--column takes NAME=COLUMN; names are {', '.join(COLUMNS)}")
    found, report = reconciled(_ledger_settings(config, state), invoice, names, tolerance / 100, local=local)
    click.echo(report, nl=False)
    return 1 if found else 0


def _ledger_settings(config: Path | None, state: Path | None) -> Settings:
    if config is None and Path("gateway.yaml").is_file():
        config = Path("gateway.yaml")
    settings = load(config, os.environ)
    return replace(settings, state=state or settings.state)
