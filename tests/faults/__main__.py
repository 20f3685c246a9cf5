"""The table of faults: `python -m tests.faults [--only TEXT] [--write]`."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import page
from tests.faults.hosts import GROUPS
from tests.faults.table import broken, host_lines
from tests.faults.hosttrials import Trial, run


def main() -> None:
    options = _parser().parse_args()
    began = time.perf_counter()
    chosen = {name: [one for one in faults if options.only in one.name] for name, faults in GROUPS.items()}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        done = asyncio.run(run([one for faults in chosen.values() for one in faults], Path(folder)))
    kept = sum(not list(broken(trial)) for trial in done)
    said = page.heading(kept, len(done), time.perf_counter() - began)
    lines = [said, *_tables(done)]
    if options.write:
        page.PAGE.write_text(page.written(lines))
        print(said, file=sys.stderr)
    else:
        print("\n".join(lines))


def _tables(done: Sequence[Trial]) -> Iterator[str]:
    for name, faults in GROUPS.items():
        if trials := [trial for trial in done if trial.fault in faults]:
            yield f"\n### {name}\n"
            yield from host_lines(trials)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name holds this")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md in place of printing the tables")
    return parser


if __name__ == "__main__":
    main()
