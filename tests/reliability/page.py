"""docs/reliability.md: what was written by hand, and between two marks what each trial's last run has measured."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
RECORDS = PAGE.parent / "reliability"  # the last record of each trial
HEAD = "| target | measured | kept |\n|---|---|---|"


@dataclass(frozen=True, slots=True)
class Line:
    """One target: what is to be reached, what was measured, whether it was reached."""

    target: str
    measured: str
    kept: bool


def when() -> dict[str, str]:
    """Day and machine of a run."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, CPython {platform.python_version()}"
    return {"day": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine}


def table(lines: Sequence[Line]) -> str:
    rows = [f"| {line.target} | {line.measured} | {'yes' if line.kept else '**no**'} |" for line in lines]
    return "\n".join([HEAD, *rows])


def write(trial: str, record: dict[str, Any], lines: Sequence[Line]) -> None:
    """Puts the table of this trial between its marks, and the record beside the page."""
    text = f"\n{record['day']} ({record['machine']}), `{record.get('command', trial)}`:\n\n{table(lines)}\n\n"
    PAGE.write_text(placed(PAGE.read_text(), trial, text))
    RECORDS.mkdir(exist_ok=True)
    (RECORDS / f"{trial}.json").write_text(json.dumps(record, indent=2) + "\n")


def placed(page: str, trial: str, text: str) -> str:
    """The page with this text between the marks of a trial. ValueError where it has no such marks."""
    begin, end = f"<!-- {trial}: begin -->", f"<!-- {trial}: end -->"
    found = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    replaced, number = found.subn(lambda _: text, page)
    if number != 1:
        raise ValueError(f"{PAGE}: {number} places for the trial {trial}")
    return replaced
