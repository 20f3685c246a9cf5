"""Writes rows of the ledger for other programs: JSON lines, CSV, Parquet. One row at a time, in bounded memory.

Row ──record──> columns: time in UTC, money in USD, the other fields as they are ──> jsonl, csv, parquet
"""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from gateway.errors import ConfigError
from gateway.types import Row
from gateway.types.utc import utc_text_in_ms

Format = Literal["jsonl", "csv", "parquet"]
MONEY = ("cost", "prompt_cost", "saved", "predicted_usd", "regret")  # in 1e-12 USD in a row
COLUMNS = ("time", *Row.__struct_fields__)
PARQUET_ROWS = 10_000  # in memory, and in a row group
NO_PARQUET = "Parquet needs the package pyarrow; install it: pip install 'llm-routing-gateway[parquet]'"

Write = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are exported; None: all. Times are Unix seconds of the send; `until` is not part of them."""

    since: float | None = None
    until: float | None = None
    key: str | None = None
    endpoint: str | None = None
    model: str | None = None
    policy: str | None = None

    def has(self, row: Row) -> bool:
        named = (
            (self.key, row.key or row.tenant),
            (self.endpoint, row.endpoint),
            (self.model, row.model),
            (self.policy, row.policy),
        )
        if any(wanted is not None and wanted != found for wanted, found in named):
            return False
        return (self.since is None or row.at >= self.since) and (self.until is None or row.at < self.until)


def record(row: Row) -> dict[str, Any]:
    """A row by column. Money is exact."""
    fields: dict[str, Any] = msgspec.structs.asdict(row)
    money = {name: Decimal(fields[name]).scaleb(-12) for name in MONEY}
    return {"time": utc_text_in_ms(row.at), **fields, **money, "repairs": " ".join(row.repairs)}


@contextmanager
def writer(kind: Format, out: IO[str], path: Path | None) -> Iterator[Write]:
    """What writes rows to `out`, or to the file `path` for Parquet. Raises ConfigError where that cannot be done."""
    if kind == "parquet":
        if path is None:
            raise ConfigError("Parquet is a binary format: name a file with --out")
        with _parquet(path) as write:
            yield write
    elif kind == "csv":
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        yield lambda row: table.writerow([_cell(value) for value in record(row).values()])
    else:
        encoder = msgspec.json.Encoder(decimal_format="number")
        yield lambda row: _put(out, encoder.encode(record(row)).decode())


def _put(out: IO[str], line: str) -> None:
    out.write(f"{line}\n")


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return json.dumps(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    try:
        pyarrow = import_module("pyarrow")  # an extra without type stubs
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError(NO_PARQUET) from None
    money = pyarrow.decimal128(38, 12)
    schema = pyarrow.schema([(name, money if name in MONEY else getattr(pyarrow, _kind(name))()) for name in COLUMNS])
    waiting: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as file:

        def flush() -> None:
            file.write_table(pyarrow.Table.from_pylist(waiting, schema))
            waiting.clear()

        def write(row: Row) -> None:
            waiting.append(record(row))
            if len(waiting) >= PARQUET_ROWS:
                flush()

        yield write
        flush()


def _kind(column: str) -> str:
    """The name of pyarrow's type."""
    annotation = Row.__annotations__.get(column)
    if annotation in (int, bool, float):
        return {int: "int64", bool: "bool_", float: "float64"}[annotation]
    return "float64" if annotation == float | None else "string"
