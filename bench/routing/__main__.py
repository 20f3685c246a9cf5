"""The command line of `python -m bench.routing`."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bench.routing
from bench.routing.bench import Bench
from bench.routing.changes import changes
from bench.routing.sections import honesty, price, success, tail
from bench.routing.steady import steady

PARTS = ("full", "first", "second")  # of the trace, by time
SECTIONS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "steady": steady,
    "changes": changes,
    "price": price,
    "honesty": honesty,
    "success": success,
    "tail": tail,
}


def main(arguments: Sequence[str] | None = None) -> int:
    about = (bench.routing.__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=about)
    parser.add_argument("trace", type=Path, help="JSON Lines, gzip where its name ends in .gz")
    parser.add_argument("--short", type=Path, metavar="TRACE", help="short prompts; default: generated")
    parser.add_argument("--agents", type=Path, metavar="TRACE", help="agent sessions; default: generated")
    parser.add_argument("--fleet", default="real", help="a shipped fleet or a fleet file; default: real")
    parser.add_argument("--policies", help="shipped policies, with commas; default: those of each section")
    parser.add_argument(
        "--seeds", type=int, default=20, help="of the table of success; the others take at most 3; default: 20"
    )
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--parts", default=",".join(PARTS), help="of the trace, for prices: full, first, second half")
    parser.add_argument("--folder", type=Path, help="policies, over the shipped ones")
    parser.add_argument("--quick", action="store_true", help="one seed, prices only, few baselines")
    given = parser.parse_args(arguments)
    subject = Bench(given)
    sections = "price,honesty" if given.quick else given.sections
    for name in sections.split(","):
        for line in SECTIONS[name](subject):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
