"""Sections about choice alone, and about what fails."""

from collections.abc import Iterator
from dataclasses import replace

from bench.routing.bench import CAP, Bench, calm, part_of
from bench.routing.table import heads, mean, percent, plain, priced, row
from gateway.sim.sim_host import SimHost
from gateway.types import Delay, Pick, Policy

HOUR, FIVE_MINUTES = 3600.0, 300.0
LIAR = "streamlake/fp8"  # the cheapest: the one that would draw most traffic with a discount that it does not give
USUAL = ("floor", "balanced")


def price(bench: Bench) -> Iterator[str]:
    """Full trace and both halves by time, caches that live an hour and five minutes."""
    reports = {
        f"{part}, TTL {ttl / 60:g} min": bench.replay(
            bench.policies(*USUAL),
            bench.baselines,
            rows=part_of(bench.rows, part),
            hosts=calm(bench.hosts, ttl),
            cap=CAP,
        )
        for part in bench.parts
        for ttl in (HOUR, FIVE_MINUTES)
    }
    yield f"### Blended price, $ per 1M tokens, cap {CAP:.0%} (cache hits, busiest host)\n"
    yield from heads(["", *reports])
    for place, first in enumerate(next(iter(reports.values())).outcomes):
        yield row([first.name, *(priced(report.outcomes[place]) for report in reports.values())])
    yield row(
        [
            "(oracle floor)",
            *(f"{one.floor.blended_price:.4f} ({one.floor.cache_hit:.1%})" for one in reports.values()),
        ]
    )


def honesty(bench: Bench) -> Iterator[str]:
    """One host's discount is a lie, or is not there at all."""
    hosts = calm(bench.hosts, HOUR)
    lying = [replace(host, hit_efficiency=0.0) if host.id == LIAR else host for host in hosts]
    without = [
        replace(host, price=replace(host.price, cached_input=None), hit_efficiency=0.0) if host.id == LIAR else host
        for host in hosts
    ]
    reports = [bench.replay(bench.policies(*USUAL), hosts=fleet, cap=CAP) for fleet in (lying, without)]
    yield f"\n### {LIAR} never gives a cache hit, cap {CAP:.0%}, TTL 1 h: blended price\n"
    yield from heads(["", "advertises its discount", "has no discount", "ratio"])
    for lied, told in zip(reports[0].outcomes, reports[1].outcomes, strict=True):
        ratio = mean(lied, "blended_price") / mean(told, "blended_price")
        yield row([lied.name, priced(lied), priced(told), f"{ratio:.3f}"])


def success(bench: Bench) -> Iterator[str]:
    """With failures, beside each host alone."""
    nitro = bench.shipped["nitro"]
    report = bench.replay(
        [*bench.policies(*USUAL), nitro, *map(_only, bench.hosts)], rows=bench.short, seeds=bench.seeds
    )
    yield f"\n### Success, {bench.seeds} seeds, hosts at their measured uptimes with outages\n"
    yield from heads(["", "first token came", "cut later", "TTFT p99, s", "busiest host"])
    for outcome in report.outcomes:
        figures = outcome.figures
        cells = [percent(figures["success"], 4), percent(figures["cut_later"], 3), plain(figures["ttft_p99"], 2)]
        yield row([outcome.name, *cells, percent(figures["busiest"], 0)])


def tail(bench: Bench) -> Iterator[str]:
    """What hedging does to the slowest answers."""
    hosts, nitro = calm(bench.hosts, HOUR), bench.shipped["nitro"]
    unhedged = replace(nitro, name="nitro, not hedged", hedge=replace(nitro.hedge, after=Delay()))
    yield "\n### TTFT of `nitro`: hedged and not, and each host alone\n"
    yield from heads(["", "p50, s", "p95, s", "p99, s", "hedged requests", "spent on losers", "$/1M"])
    for cap in (1.0, CAP):
        alone = [_only(host) for host in hosts] if cap == 1 else []
        report = bench.replay([nitro, unhedged, *alone], rows=bench.short, hosts=hosts, cap=cap)
        for outcome in report.outcomes:
            figures = outcome.figures
            waits = [plain(figures[name], 2) for name in ("ttft_p50", "ttft_p95", "ttft_p99")]
            spent = [
                percent(figures["hedges"], 2),
                percent(figures["hedge_spend"], 2),
                plain(figures["blended_price"], 4),
            ]
            yield row([outcome.name + (f", cap {cap:.0%}" if cap < 1 else ""), *waits, *spent])


def _only(host: SimHost) -> Policy:
    return Policy(name=f"{host.id} alone", pick=Pick(how="fixed", endpoint=host.id))
