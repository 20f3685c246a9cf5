"""Measures gateways side by side: `python -m bench`. Everything stays on 127.0.0.1 and ends by itself.

Rounds are interleaved (every subject once, then all again), so that a machine that slows down slows all of them. What
is measured has one CPU, the mock host and the load share another.
"""

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from bench import process
from bench.frontier import UNDER
from bench.host import mock_host
from bench.measure import Bench, Record, measure
from bench.peers import peers_folder
from bench.report import report
from bench.scenarios import CANCEL, DEFAULT, ONCE, SCENARIOS
from bench.subjects import SUBJECTS

QUICK_SECONDS = 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when nothing could be measured."""
    given = _parser().parse_args(arguments)
    if given.report is not None:
        print(report(json.loads(line) for line in given.report.read_text(encoding="utf-8").splitlines()))
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    signal.signal(signal.SIGTERM, _end)
    records = []
    with ExitStack() as stack:
        raw = stack.enter_context(given.out.open("w", encoding="utf-8")) if given.out else None
        for record in stack.enter_context(closing(_measured(given))):
            records.append(record)
            _say(record)
            if raw:
                raw.write(json.dumps(record) + "\n")
                raw.flush()
    print("\n" + report(records))
    return int(all("failed" in record for record in records))


def _measured(given: argparse.Namespace) -> Generator[Record, None, None]:
    """Every record of the run as it comes."""
    process.allow_many_files()
    subject_cpu, harness_cpu = process.processors()
    if subject_cpu == harness_cpu:
        print("one CPU only: subject, host and load share it, so rates and latencies mean little", file=sys.stderr)
    subjects = [SUBJECTS[name] for name in given.subjects]
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        process.pinned(harness_cpu),
        mock_host(Path(folder), harness_cpu, any(subject.tls for subject in subjects)) as host,
    ):
        again = tuple(name for name in given.scenarios if name not in ONCE)
        seconds = QUICK_SECONDS if given.quick else given.seconds
        bench = Bench(host, given.peers, subject_cpu, seconds, given.quick, "sk-" + secrets.token_hex(32))
        for number in range(1, (1 if given.quick else given.rounds) + 1):
            for subject in list(subjects):
                for record in measure(subject, given.scenarios if number == 1 else again, bench):
                    yield {"subject": subject.name, "round": number, **record}
                if "failed" in record and record["scenario"] == "start":
                    subjects.remove(subject)


def _say(record: Record) -> None:
    """One line of progress."""
    shown = (
        "ok",
        "errors",
        "rate",
        "p50_s",
        "cpu_us",
        "foreign_cores",
        "cold_start_s",
        "cancel_s",
        "end",
        *UNDER,
        "gateway_kb_per_1000",
        "failed",
        "first_error",
    )
    figures = " ".join(f"{name}={_short(record[name])}" for name in shown if name in record)
    print(f"{record['round']} {record['subject']:16} {record['scenario']:10} {figures}", flush=True)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:300]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What a request and an event cost.")
    parser.add_argument("--subjects", type=_Choice(SUBJECTS), default=tuple(SUBJECTS), help=f"of {','.join(SUBJECTS)}")
    scenarios = (*SCENARIOS, CANCEL, *ONCE)
    parser.add_argument("--scenarios", type=_Choice(scenarios), default=DEFAULT, help=f"of {','.join(scenarios)}")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a closed loop; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that everything works")
    parser.add_argument("--peers", type=Path, default=peers_folder(), help="their folder; default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write raw records there, one JSON object a line")
    parser.add_argument("--report", type=Path, metavar="FILE", help="only print the tables of such a file")
    return parser


class _Choice:
    """Reads `a,b` where only certain names are known."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        unknown = [name for name in names if name not in self._known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: choose of {', '.join(self._known)}")
        return names


def _end(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the run as Ctrl-C does: an event loop turns only that one into a clean end."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
