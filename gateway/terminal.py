"""Tables of commands, for a terminal of 80 columns."""

import io

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 80


def console() -> Console:
    """Collects what is printed, for `printed`."""
    return Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False, soft_wrap=False)


def printed(console: Console) -> str:
    """What was printed, without blanks at the ends of lines."""
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def titled(title: str, first: str) -> Table:
    """A table whose first column wraps a long name and does not truncate it."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    return table
