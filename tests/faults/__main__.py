"""The tables of faults: `python -m tests.faults [--only TEXT] [--write]`."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.faults import clients, clienttrials, hosts, hosttrials, machine, page
from tests.faults.table import (
    broken,
    broken_by_client,
    broken_by_machine,
    client_lines,
    host_lines,
    machine_lines,
    policy_lines,
)

POLICIES = "Breaks after the first token, with other policies"
Groups = dict[str, list[Any]]


async def tables(only: str, folder: Path) -> tuple[list[str], list[bool]]:
    """The lines of all tables, and of each trial whether it kept its promises."""
    lines: list[str] = []
    kept: list[bool] = []
    for part in (_hosts, _clients, _machine):
        inside = folder / part.__name__
        inside.mkdir()
        more, whether = await part(only, inside)
        lines += more
        kept += whether
    return lines, kept


async def _hosts(only: str, folder: Path) -> tuple[list[str], list[bool]]:
    chosen = _chosen(hosts.GROUPS, only)
    done = await hosttrials.run(_flat(chosen), folder)
    lines = _sections(chosen, done, host_lines)
    if others := [trial for trial in done if trial.policy != "short"]:
        lines += [*page.title(POLICIES), *policy_lines(others)]
    return lines, [not list(broken(trial)) for trial in done]


async def _clients(only: str, folder: Path) -> tuple[list[str], list[bool]]:
    chosen = _chosen(clients.GROUPS, only)
    done = await clienttrials.run(_flat(chosen), folder)
    return _sections(chosen, done, client_lines), [not list(broken_by_client(trial)) for trial in done]


async def _machine(only: str, folder: Path) -> tuple[list[str], list[bool]]:
    chosen = _chosen(machine.GROUPS, only)
    done = await machine.run(_flat(chosen), folder)
    return _sections(chosen, done, machine_lines), [not list(broken_by_machine(trial)) for trial in done]


def _chosen(groups: Groups, only: str) -> Groups:
    return {name: [one for one in faults if only in one.name] for name, faults in groups.items()}


def _flat(groups: Groups) -> list[Any]:
    return [one for faults in groups.values() for one in faults]


def _sections(groups: Groups, done: Sequence[Any], table: Any) -> list[str]:
    lines: list[str] = []
    for name, faults in groups.items():
        if trials := [trial for trial in done if trial.fault in faults]:
            lines += [*page.title(name), *table(trials)]
    return lines


def main(arguments: Iterable[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        lines, kept = asyncio.run(tables(options.only, Path(folder)))
    said = page.heading(sum(kept), len(kept), time.perf_counter() - began)
    if options.write:
        page.PAGE.write_text(page.written([said, *lines]))
        print(said, file=sys.stderr)
    else:
        print("\n".join([said, *lines]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name holds this")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md in place of printing the tables")
    return parser


if __name__ == "__main__":
    main()
