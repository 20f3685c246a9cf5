"""Long trials of a whole gateway: `python -m tests.reliability chaos|soak|... [--write]`."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.process import allow_many_files
from tests.reliability import page
from tests.reliability.trials import TRIALS


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one trial, prints its record as JSON, and with `--write` puts its rows into docs/reliability.md. 1 where a
    target was missed."""
    options = _parser().parse_args(arguments)
    trial = TRIALS[options.trial]
    allow_many_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="reliability-", ignore_cleanup_errors=True) as folder:
        path = Path(options.keep or folder)
        path.mkdir(parents=True, exist_ok=True)
        record = uvloop.run(asyncio.wait_for(trial.run(options, path), trial.within(options)))
    record = {"trial": options.trial, **page.when(), **record}
    print(json.dumps(record, indent=2))
    lines = trial.lines(record)
    print(page.table(lines), file=sys.stderr)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    if options.write:
        page.write(options.trial, record, lines)
    return int(any(not line.kept for line in lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("trial", choices=list(TRIALS))
    parser.add_argument("--minutes", type=float, default=10.0, help="length of chaos and fuzz; default: %(default)g")
    parser.add_argument(
        "--requests", type=int, default=200_000, help="of a soak that count, after its warm-up; default: %(default)d"
    )
    parser.add_argument("--streams", type=int, default=200, help="clients at once; default: %(default)d")
    parser.add_argument("--workers", type=int, default=4, help="of the gateway; default: %(default)d")
    parser.add_argument("--seed", type=int, default=0, help="of faults and requests; default: %(default)d")
    parser.add_argument("--keep", metavar="FOLDER", help="keep ledger and log there")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the record there, as JSON")
    parser.add_argument("--write", action="store_true", help="write the rows of this trial in docs/reliability.md")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
