"""Tables in Markdown from raw records: medians over the rounds, and ratios to peers within the same run."""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, NamedTuple

from bench.scenarios import SCENARIOS
from bench.subjects import SUBJECTS

Record = dict[str, Any]
BESIDE = ("nginx", "envoy", "vllm-router")  # peers to which ours is put in relation


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
    value: Callable[[Results, str], float | None]
    digits: int = 0


def _of(scenario: str, name: str, scale: float = 1.0) -> Callable[[Results, str], float | None]:
    return lambda results, subject: _scaled(results.value(subject, scenario, name), scale)


def _added(scenario: str, name: str, scale: float) -> Callable[[Results, str], float | None]:
    return lambda results, subject: _scaled(results.added(subject, scenario, name), scale)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


CPU = (
    Column("1 KB C=1", _of("small-c1", "cpu_us")),
    Column("1 KB C=16", _of("small-c16", "cpu_us")),
    Column("1 KB C=64", _of("small-c64", "cpu_us")),
    Column("256 KB C=4", _of("large-c4", "cpu_us")),
    Column("paced stream", _of("paced", "cpu_us")),
    Column("paced event", Results.per_event, 1),
)
TIME = (
    Column("requests/s, C=64", _of("small-c64", "rate")),
    Column("added p50, µs", _added("small-c1", "p50_s", 1e6)),
    Column("added p99, µs", _added("small-c1", "p99_s", 1e6)),
    Column("added TTFT p50, µs", _added("stream-c1", "ttft_p50_s", 1e6)),
    Column("added TTFT p50, paced, µs", _added("paced", "ttft_p50_s", 1e6)),
    Column("largest gap added, ms", _added("paced", "gap_max_s", 1e3), 1),
    Column("2,000 streams: gap added p99, ms", _added("crowd", "gap_p99_s", 1e3), 1),
    Column("cancel seen after, ms", _of("cancel", "cancel_s", 1e3), 2),
    Column("cancel unseen", _of("cancel", "unseen")),
)
SIZE = (
    Column("RSS idle, MB", _of("start", "rss_mb")),
    Column("its first process, MB", _of("start", "rss_first_process_mb")),
    Column("KB per paced stream", _of("paced", "rss_kb_per_connection")),
    Column("KB per stream of 2,000", _of("crowd", "rss_kb_per_connection")),
    Column("cold start, s", _of("start", "cold_start_s"), 2),
    Column("others' cores, most", Results.foreign, 2),
)
RATIOS = (CPU[1], CPU[3], CPU[5], TIME[0])


def report(records: Iterable[Record]) -> str:
    """All tables. An empty cell was not measured."""
    results = Results(records)
    parts = [
        _table("CPU of the gateway's processes, µs a request, stream or event", results, CPU),
        _table("Time (p50, p99 and TTFT: one connection)", results, TIME),
        _table("Memory and start", results, SIZE),
    ]
    ratios = _ratios(results)
    if ratios:
        parts.append(ratios)
    failures = results.failures()
    if failures:
        parts.append("\n".join(["### Errors", "", *failures]))
    return "\n\n".join(parts) + "\n"


def _table(title: str, results: Results, columns: tuple[Column, ...]) -> str:
    rows = [
        [name, *(_cell(column.value(results, name), column.digits) for column in columns)] for name in results.subjects
    ]
    return _markdown(title, ["subject", *(column.heading for column in columns)], rows)


def _ratios(results: Results) -> str:
    """Ours by a peer of the same run; empty without such a pair."""
    rows = []
    for own in (name for name in results.subjects if name.startswith("ours")):
        for peer in (name for name in BESIDE if name in results.subjects):
            pairs = [(column.value(results, own), column.value(results, peer)) for column in RATIOS]
            rows.append([f"{own} ÷ {peer}", *(_cell(mine / its, 2) if mine and its else "" for mine, its in pairs)])
    return _markdown("Within this run", ["", *(column.heading for column in RATIOS)], rows) if rows else ""


def _markdown(title: str, headings: list[str], rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", _row(headings), "|---|" + "---:|" * (len(headings) - 1), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
