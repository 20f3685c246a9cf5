"""Measures routing: `python -m bench.routing TRACE`. Replays in virtual time, nothing is sent.

    price      blended price of a policy under a cap, beside baselines and the floor: hits are learned, none is given
    honesty    the same with a host that advertises a cache discount and never gives it
    success    requests that get a first token, with hosts at their measured uptimes and outages
    tail       TTFT p99 of `nitro`, hedged and not, beside each host alone

Price is measured on hosts that never fail, so that it is about choice alone. Every replay starts cold.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.policy.load import Policies
from gateway.sim.fleet import Rates, SimHost
from gateway.sim.fleetfile import read_fleet
from gateway.sim.whatif import Interval, Outcome, Report, Setup, whatif
from gateway.sim.workload import TraceRow, read_trace
from gateway.types import Delay, Pick, Policy

CAP = 0.3
STEADY_SEEDS = 3  # at most, where hosts never fail: what differs from seed to seed is small
HOUR, FIVE_MINUTES = 3600.0, 300.0
LIAR = "streamlake/fp8"  # the cheapest: the one that would draw most traffic with a discount that it does not give
BASELINES = ("random", "1/price^2", "cheapest", "openrouter", "sticky", "sticky-cost")
QUICK = ("openrouter", "sticky-cost")
PARTS = ("full", "first", "second")  # of the trace, by time
Section = Callable[["Bench"], Iterator[str]]


class Bench:
    """What is replayed, and how often. `parts` and `baselines` are those of the table of prices; `short` is the trace
    whose first tokens do not wait for long prompts to be read."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.rows: Sequence[TraceRow] = read_trace(given.trace)
        self.short: Sequence[TraceRow] = read_trace(given.short or given.trace)
        self.hosts: Sequence[SimHost] = read_fleet(given.fleet)
        self.seeds = 1 if given.quick else given.seeds
        self.parts = given.parts.split(",")
        self.baselines = QUICK if given.quick else BASELINES
        shipped = Policies(given.folder).current
        self.policies = [shipped[name] for name in given.policies.split(",")]
        self.nitro = shipped["nitro"]

    def replay(self, policies: Sequence[Policy], baselines: Sequence[str] = (), **changes: object) -> Report:
        seeds = min(self.seeds, STEADY_SEEDS)
        setup = replace(Setup(self.rows, self.hosts, seeds=seeds), **changes)  # type: ignore[arg-type]
        return whatif(setup, policies, baselines, _progress)

    def __repr__(self) -> str:
        return f"<Bench of {len(self.rows)} requests, {self.seeds} seeds>"


def price(bench: Bench) -> Iterator[str]:
    """Full trace and both halves by time, caches that live an hour and five minutes."""
    reports = {
        f"{part}, TTL {ttl / 60:g} min": bench.replay(
            bench.policies, bench.baselines, rows=_part(bench.rows, part), hosts=calm(bench.hosts, ttl), cap=CAP
        )
        for part in bench.parts
        for ttl in (HOUR, FIVE_MINUTES)
    }
    yield f"### Blended price, $ per 1M tokens, cap {CAP:.0%} (cache hits, busiest host)\n"
    yield from _table(["", *reports])
    for place, first in enumerate(next(iter(reports.values())).outcomes):
        yield _row([first.name, *(_priced(report.outcomes[place]) for report in reports.values())])
    yield _row(
        [
            "(oracle floor)",
            *(f"{one.floor.blended_price:.4f} ({one.floor.cache_hit:.1%})" for one in reports.values()),
        ]
    )


def _part(rows: Sequence[TraceRow], part: str) -> Sequence[TraceRow]:
    half = (rows[0].t + rows[-1].t) / 2
    if part == "full":
        return rows
    return [row for row in rows if (row.t < half) == (part == "first")]


def honesty(bench: Bench) -> Iterator[str]:
    """One host's discount is a lie, or is not there at all."""
    hosts = calm(bench.hosts, HOUR)
    lying = [replace(host, hit_efficiency=0.0) if host.id == LIAR else host for host in hosts]
    without = [
        replace(host, price=replace(host.price, cached_input=None), hit_efficiency=0.0) if host.id == LIAR else host
        for host in hosts
    ]
    reports = [bench.replay(bench.policies, hosts=fleet, cap=CAP) for fleet in (lying, without)]
    yield f"\n### {LIAR} never gives a cache hit, cap {CAP:.0%}, TTL 1 h: blended price\n"
    yield from _table(["", "advertises its discount", "has no discount", "ratio"])
    for lied, told in zip(reports[0].outcomes, reports[1].outcomes, strict=True):
        ratio = _mean(lied, "blended_price") / _mean(told, "blended_price")
        yield _row([lied.name, _priced(lied), _priced(told), f"{ratio:.3f}"])


def success(bench: Bench) -> Iterator[str]:
    """With failures, beside each host alone."""
    report = bench.replay([*bench.policies, bench.nitro, *map(_only, bench.hosts)], rows=bench.short, seeds=bench.seeds)
    yield f"\n### Success, {bench.seeds} seeds, hosts at their measured uptimes with outages\n"
    yield from _table(["", "first token came", "cut later", "TTFT p99, s", "busiest host"])
    for outcome in report.outcomes:
        figures = outcome.figures
        cells = [_percent(figures["success"], 4), _percent(figures["cut_later"], 3), _plain(figures["ttft_p99"], 2)]
        yield _row([outcome.name, *cells, _percent(figures["busiest"], 0)])


def tail(bench: Bench) -> Iterator[str]:
    """What hedging does to the slowest answers."""
    hosts = calm(bench.hosts, HOUR)
    plain = replace(bench.nitro, name="nitro, not hedged", hedge=replace(bench.nitro.hedge, after=Delay()))
    yield "\n### TTFT of `nitro`: hedged and not, and each host alone\n"
    yield from _table(["", "p50, s", "p95, s", "p99, s", "hedged requests", "spent on losers", "$/1M"])
    for cap in (1.0, CAP):
        alone = [_only(host) for host in hosts] if cap == 1 else []
        report = bench.replay([bench.nitro, plain, *alone], rows=bench.short, hosts=hosts, cap=cap)
        for outcome in report.outcomes:
            figures = outcome.figures
            waits = [_plain(figures[name], 2) for name in ("ttft_p50", "ttft_p95", "ttft_p99")]
            spent = [
                _percent(figures["hedges"], 2),
                _percent(figures["hedge_spend"], 2),
                _plain(figures["blended_price"], 4),
            ]
            yield _row([outcome.name + (f", cap {cap:.0%}" if cap < 1 else ""), *waits, *spent])


SECTIONS: dict[str, Section] = {"price": price, "honesty": honesty, "success": success, "tail": tail}


def calm(hosts: Sequence[SimHost], ttl: float) -> list[SimHost]:
    """The same hosts, which never fail, with caches that live so many seconds."""
    return [replace(host, rates=Rates(0.0, 0.0, 0.0), uptime=1.0, incidents=None, cache_ttl=ttl) for host in hosts]


def _only(host: SimHost) -> Policy:
    return Policy(name=f"{host.id} alone", pick=Pick(how="fixed", endpoint=host.id))


def _table(heads: Sequence[str]) -> Iterator[str]:
    yield _row(heads)
    yield "|---" + "|---:" * (len(heads) - 1) + "|"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(outcome: Outcome, figure: str) -> float:
    found = outcome.figures[figure]
    return found.mean if found else float("nan")


def _priced(outcome: Outcome) -> str:
    share = f"{_mean(outcome, 'cache_hit'):.1%}, {_mean(outcome, 'busiest'):.0%}"
    return f"{_plain(outcome.figures['blended_price'], 4)} ({share})"


def _plain(figure: Interval | None, digits: int) -> str:
    if figure is None:
        return "-"
    return f"{figure.mean:.{digits}f}" + (f" ± {figure.half:.{digits}f}" if figure.half is not None else "")


def _percent(figure: Interval | None, digits: int) -> str:
    return "-" if figure is None else _plain(Interval(*(one and one * 100 for one in figure)), digits) + " %"


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:4.0%}", end="\r" if share >= 1 else "", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__.partition("\n")[0])
    parser.add_argument("trace", type=Path, help="JSON Lines, gzip where its name ends in .gz")
    parser.add_argument("--short", type=Path, metavar="TRACE", help="for success and tail; default: the same trace")
    parser.add_argument("--fleet", default="real", help="a shipped fleet or a fleet file; default: real")
    parser.add_argument(
        "--policies", default="floor,balanced", help="shipped policies, with commas; default: floor,balanced"
    )
    parser.add_argument(
        "--seeds", type=int, default=20, help="of the table of success; the others take at most 3; default: 20"
    )
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--parts", default=",".join(PARTS), help="of the trace, for prices: full, first, second half")
    parser.add_argument("--folder", type=Path, help="policies, over the shipped ones")
    parser.add_argument("--quick", action="store_true", help="one seed, prices only, few baselines")
    given = parser.parse_args(arguments)
    bench = Bench(given)
    sections = "price,honesty" if given.quick else given.sections
    for name in sections.split(","):
        for line in SECTIONS[name](bench):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
