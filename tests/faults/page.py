"""docs/faults.md: what was written by hand, and between two marks what a run has measured."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- made by `make faults`: begin -->\n", "<!-- made by `make faults`: end -->\n"


def written(lines: Iterable[str]) -> str:
    """The page with these lines between its marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def heading(kept: int, tried: int, seconds: float) -> str:
    """When and where, and how it came out."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, CPython {platform.python_version()}"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"Run of {day} ({machine}, {seconds:.0f} s): {kept} of {tried} trials keep every promise."


def title(name: str) -> list[str]:
    return ["", f"### {name}", ""]
