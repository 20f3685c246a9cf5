"""Section `steady`: what policies and baselines pay and wait for on three workloads, with failures and outages."""

from collections.abc import Iterator, Sequence

from bench.routing.bench import CAP, Bench, part_of
from bench.routing.table import heads, percent, plain, row
from gateway.sim.baselines import RULES
from gateway.sim.workload import TraceRow

POLICIES = ("balanced", "floor", "spread", "nitro", "exacto", "interactive", "slo")
BASELINES = ("openrouter", "openrouter-2025", "sticky-cost")
BIAS = ("predicted_usd_bias", "predicted_seconds_bias")
COLUMNS = ["$/1M", "cached", "p50, s", "p95, s", "p99, s", "predicted $", "predicted s", "busiest"]


def steady(bench: Bench) -> Iterator[str]:
    """One table for each workload and cap; the trace also in halves by time."""
    halves = {f"conversation, {half} half": part_of(bench.rows, half) for half in ("first", "second")}
    workloads = {"agent sessions": bench.agents, "conversation": bench.rows, **halves}
    yield "\n### Steady state: blended price, cached share, TTFT, expected over actual dollars and seconds\n"
    yield from heads(["workload", "cap", "", *COLUMNS])
    for name, rows in workloads.items():
        for cap in (1.0, CAP):
            yield from _table(bench, name, rows, cap)
    yield from _table(bench, "short prompts", bench.short, 1.0)


def _table(bench: Bench, name: str, rows: Sequence[TraceRow], cap: float) -> Iterator[str]:
    baselines = [one for one in BASELINES if one in RULES]
    report = bench.replay(bench.policies(*POLICIES), baselines, rows=rows, cap=cap)
    place = [name, "none" if cap >= 1 else f"{cap:.0%}"]
    for outcome in report.outcomes:
        figures = outcome.figures
        waits = [plain(figures[one], 2) for one in ("ttft_p50", "ttft_p95", "ttft_p99")]
        expects = outcome.kind == "policy"  # a baseline's choice rests on no expectation
        bias = [plain(figures[one] if expects else None, 3) for one in BIAS]
        cells = [plain(figures["blended_price"], 4), percent(figures["cache_hit"], 1), *waits, *bias]
        yield row([*place, outcome.name, *cells, percent(figures["busiest"], 0)])
    floor = report.floor
    yield row([*place, "(oracle floor)", f"{floor.blended_price:.4f}", f"{floor.cache_hit:.1%}", *["-"] * 6])
