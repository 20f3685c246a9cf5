"""Tables in Markdown from raw records: medians over the rounds. All but `Details` are those of docs/performance.md."""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, NamedTuple

from bench.frontier import UNDER
from bench.scenarios import GROWTH, SCENARIOS
from bench.subjects import SUBJECTS

Record = dict[str, Any]


class Results:
    """The records of one run, or of several that are taken together."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._values: dict[tuple[str, str, str], list[float]] = {}
        self._failures: dict[str, str] = {}
        seen: set[str] = set()
        for record in records:
            subject, scenario = record["subject"], record["scenario"]
            seen.add(subject)
            if "failed" in record:
                self._failures[f"{subject}, {scenario}"] = record["failed"]
            elif record.get("errors"):
                self._failures[f"{subject}, {scenario}"] = f"{record['errors']} errors; {record.get('first_error')}"
            for name, value in record.items():
                if isinstance(value, int | float):
                    self._values.setdefault((subject, scenario, name), []).append(value)
        self.subjects = [name for name in SUBJECTS if name in seen]

    def __repr__(self) -> str:
        return f"<Results of {', '.join(self.subjects)}>"

    def value(self, subject: str, scenario: str, name: str) -> float | None:
        """The median over the rounds; None when it was not measured."""
        values = self._values.get((subject, scenario, name))
        return median(values) if values else None

    def added(self, subject: str, scenario: str, name: str) -> float | None:
        """What the subject adds to asking the host directly."""
        own, direct = self.value(subject, scenario, name), self.value("direct", scenario, name)
        return None if own is None or direct is None or subject == "direct" else own - direct

    def per_event(self, subject: str) -> float | None:
        """CPU in microseconds of one paced event: what a stream costs more than a plain request, by its events."""
        stream, plain = self.value(subject, "paced", "cpu_us"), self.value(subject, "small-c16", "cpu_us")
        events = self.value(subject, "paced", "later_events")
        return None if stream is None or plain is None or not events else (stream - plain) / events

    def foreign(self, subject: str) -> float | None:
        """The most cores that other work took during any scenario: above 0.1, rates and latencies mean little."""
        names = (*SCENARIOS,)
        values = [value for name in names for value in self._values.get((subject, name, "foreign_cores"), ())]
        return max(values, default=None)

    def failures(self) -> list[str]:
        return [f"- {where}: {why}" for where, why in self._failures.items()]


class Column(NamedTuple):
    """A column: its heading, its value, and how many digits after the point are shown."""

    heading: str
    value: Callable[[Results, str], float | str | None]
    digits: int = 0


def _of(scenario: str, name: str, scale: float = 1.0) -> Callable[[Results, str], float | None]:
    return lambda results, subject: _scaled(results.value(subject, scenario, name), scale)


def _added(scenario: str, name: str, scale: float) -> Callable[[Results, str], float | None]:
    return lambda results, subject: _scaled(results.added(subject, scenario, name), scale)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _carried(scale: str, limit: str) -> Callable[[Results, str], str | None]:
    """The greatest load within a limit; "at least" where the harness has no more."""

    def value(results: Results, subject: str) -> str | None:
        carried, end = results.value(subject, scale, limit), results.value(subject, scale, "end")
        return None if carried is None else f"{'≥ ' if carried == end else ''}{carried:,.0f}"

    return value


COSTS = (
    Column("1 KB C=16", _of("small-c16", "cpu_us")),
    Column("256 KB C=4", _of("large-c4", "cpu_us")),
    Column("paced stream", _of("paced", "cpu_us")),
    Column("its event", Results.per_event, 1),
    Column("requests/s, C=64", _of("small-c64", "rate")),
    Column("added p50", _added("small-c1", "p50_s", 1e6)),
    Column("added TTFT", _added("stream-c1", "ttft_p50_s", 1e6)),
    Column("RSS, MB", _of("start", "rss_mb")),
    Column("cold start, s", _of("start", "cold_start_s"), 2),
)
CARRIED = tuple(
    Column(f"{what}, {limit.split('_')[1]} ms", _carried(scale, limit))
    for scale, what in (("rates", "requests/s"), ("held", "streams"))
    for limit in UNDER
)
GROWN = tuple(
    Column(f"{name}: {what}", _of(GROWTH, f"{name}_{value}"))
    for name in ("gateway", "store")
    for what, value in (
        ("MB before", "warm_mb"),
        ("MB after", "after_mb"),
        ("KB per 1,000", "kb_per_1000"),
        ("KB per 1,000, later half", "later_kb_per_1000"),
    )
)
DETAILS = (
    Column("1 KB C=1", _of("small-c1", "cpu_us")),
    Column("1 KB C=64", _of("small-c64", "cpu_us")),
    Column("added p99, µs", _added("small-c1", "p99_s", 1e6)),
    Column("added TTFT, paced, µs", _added("paced", "ttft_p50_s", 1e6)),
    Column("largest gap added, ms", _added("paced", "gap_max_s", 1e3), 1),
    Column("2,000 streams: gap added p99, ms", _added("crowd", "gap_p99_s", 1e3), 1),
    Column("cancel seen after, ms", _of("cancel", "cancel_s", 1e3), 2),
    Column("cancel unseen", _of("cancel", "unseen")),
    Column("RSS of the first process, MB", _of("start", "rss_first_process_mb")),
    Column("KB per paced stream", _of("paced", "rss_kb_per_connection")),
    Column("KB per stream of 2,000", _of("crowd", "rss_kb_per_connection")),
    Column("others' cores, most", Results.foreign, 2),
)
TABLES = {
    "Cost (CPU and added time in µs)": COSTS,
    "Load carried while p99 is less than 1, 5, 10, 50 ms worse": CARRIED,
    "Memory over 100,000 requests": GROWN,
    "Details": DETAILS,
}


def report(records: Iterable[Record]) -> str:
    """All tables, without rows and columns in which nothing was measured; then what went wrong."""
    results = Results(records)
    parts = [_table(title, results, columns) for title, columns in TABLES.items()]
    failures = results.failures()
    if failures:
        parts.append("\n".join(["### Left out, and errors", "", *failures]))
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(title: str, results: Results, columns: tuple[Column, ...]) -> str:
    """The table; empty when none of it was measured."""
    cells = {
        name: [_cell(column.value(results, name), column.digits) for column in columns] for name in results.subjects
    }
    used = [at for at in range(len(columns)) if any(row[at] for row in cells.values())]
    rows = [[name, *(row[at] for at in used)] for name, row in cells.items() if any(row)]
    if not rows:
        return ""
    headings = ["subject", *(columns[at].heading for at in used)]
    return "\n".join([f"### {title}", "", _row(headings), "|---|" + "---:|" * len(used), *map(_row, rows)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float | str | None, digits: int) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:,.{digits}f}"
