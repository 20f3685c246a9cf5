"""Section `changes`: how soon a policy notices that a host is no longer what it was, and that it is again.

     600 s         1200 s                          1200 s + length
    ──┤ usual share ├──────── the change lasts ─────────┤──────── afterwards ────────

The host that changes is the one that got most requests in the same replay without the change. A share is taken over at
least 30 requests and 20 s: a host has left when its share is under a fifth of the usual one, and is back when it is
over half of it. Hosts never fail, and their caches live an hour.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf, isnan, nan
from typing import NamedTuple

from bench.routing.bench import CAP, Bench, calm
from bench.routing.experiment import Experiment
from bench.routing.table import heads, row
from gateway.sim.changes import HostChange
from gateway.sim.replay_log import Log
from gateway.sim.sim_host import Slowdown, Wait
from gateway.sim.whatif import interval
from gateway.types import Policy, Price

USUAL, START = 600.0, 1200.0  # seconds
SLOW_FOR, SETTLED = 500.0, 300.0  # seconds; and those from which on a host that has recovered should be in use
STOPPED_FOR = 1200.0
SILENT_FOR = 600.0
DEARER, DEARER_FOR = 3.0, 600.0
NEWCOMER = Wait(0.6, 0.9, 2.0)  # of typical prompts; short ones take .3 s
LOAD = Slowdown(free=8, per=16.0)
TTL = 3600.0
Values = dict[str, float | None]


class Case(NamedTuple):
    """`run(policy, seed)` gives figures by name; None where what is waited for never happens."""

    change: str
    policies: Sequence[Policy]
    run: Callable[[Policy, int], Values]


def changes(bench: Bench) -> Iterator[str]:
    yield "\n### Changes: how soon they are noticed, and what they cost until then\n"
    yield from heads(["what changes", "policy", "figure", "value"])
    for change, policies, run in _cases(bench):
        for policy in policies:
            found = [run(policy, seed) for seed in range(bench.steady_seeds)]
            for name in found[0]:
                yield row([change, policy.name, name, _shown([one[name] for one in found])])


def _cases(bench: Bench) -> list[Case]:
    hosts = calm(bench.hosts, TTL)
    short, conversation = Experiment(bench.short, hosts), Experiment(bench.rows, hosts)
    loaded = Experiment(bench.short, [replace(host, load=LOAD) for host in hosts])
    balanced, nitro, floor = (bench.shipped[name] for name in ("balanced", "nitro", "floor"))
    capped = replace(floor, name=f"floor, cap {CAP:.0%}", cap=replace(floor.cap, share=CAP))
    return [
        Case("TTFT x3 for 500 s", [nitro], lambda policy, seed: _slower(short, 3.0, policy, seed)),
        Case("TTFT x2 for 500 s", [nitro], lambda policy, seed: _slower(short, 2.0, policy, seed)),
        Case("no cache hits for 20 min", [floor, capped], lambda policy, seed: _uncached(conversation, policy, seed)),
        Case("a newcomer", [balanced, nitro], lambda policy, seed: _newcomer(bench, short, policy, seed)),
        Case("all slow with load", [nitro], lambda policy, seed: _crowded(loaded, policy, seed)),
        Case("silent for 10 min", [floor], lambda policy, seed: _silent(short, policy, seed)),
        Case("price x3", [floor], lambda policy, seed: _dearer(conversation, policy, seed)),
    ]


def _slower(world: Experiment, factor: float, policy: Policy, seed: int) -> Values:
    calm_log = world.undisturbed(seed, policy)
    host, end = _busiest(calm_log), START + SLOW_FOR
    log = world.log(seed, policy, HostChange(host, START, end, ttft=factor))
    usual = log.share(host, USUAL, START)
    left = log.until_below(host, usual / 5, START, end)
    return {
        "seconds until it has left": left,
        "seconds after recovery until it is back": nan if left is None else log.until_above(host, usual / 2, end),
        "TTFT p50 meanwhile, s": log.quantile(0.5, START, end),
        "TTFT p99 from 5 min after recovery, s": log.quantile(0.99, end + SETTLED, inf),
        "the same without the change, s": calm_log.quantile(0.99, end + SETTLED, inf),
    }


def _uncached(world: Experiment, policy: Policy, seed: int) -> Values:
    calm_log = world.undisturbed(seed, policy)
    host, end = _busiest(calm_log), START + STOPPED_FOR
    change = HostChange(host, START, end, hit_efficiency=0.0)
    log, knows = world.log(seed, policy, change), world.log(seed, policy, change, knowing=True)
    return {
        "$/1M meanwhile": log.price(START, end),
        "the same without the change": calm_log.price(START, end),
        "dollars above perfect knowledge, %": _above(log, knows, START, end),
        "the same in 20 min afterwards, %": _above(log, knows, end, end + STOPPED_FOR),
        "usual share of requests, %": 100 * log.share(host, USUAL, START),
        "the same 15 to 20 min afterwards, %": 100 * log.share(host, end + 900, end + STOPPED_FOR),
    }


def _newcomer(bench: Bench, world: Experiment, policy: Policy, seed: int) -> Values:
    """At the price of the host that the policy uses most. Nothing is published about how fast it is."""
    busiest = _busiest(world.undisturbed(seed, policy))
    like = next(host for host in world.hosts if host.id == busiest)
    new = replace(like, id="newcomer", name="Newcomer", ttft=NEWCOMER, published=False)
    log = Experiment(bench.short, [*world.hosts, new]).log(seed, policy, HostChange(new.id, 0.0, START, absent=True))
    return {"share of requests after 5 min, %": 100 * log.share(new.id, START + 300, START + 360)}


def _crowded(world: Experiment, policy: Policy, seed: int) -> Values:
    log, other = world.log(seed, policy), world.log(seed, "least-in-flight")
    waits = [one.quantile(0.95, 0.0, inf) for one in (log, other)]
    return {
        "TTFT p95, s": waits[0],
        "TTFT p95 of least-in-flight, s": waits[1],
        "TTFT p95, over that of least-in-flight": _over(*waits),
        "dollars, over those of least-in-flight": _over(log.spent(0.0, inf), other.spent(0.0, inf)),
    }


def _silent(world: Experiment, policy: Policy, seed: int) -> Values:
    host, end = _busiest(world.undisturbed(seed, policy)), START + SILENT_FOR
    log = world.log(seed, policy, HostChange(host, START, end, silent=True))
    return {"requests that wait over 15 s": log.waited(15.0, START, end)}


def _dearer(world: Experiment, policy: Policy, seed: int) -> Values:
    """Perfect knowledge is what the policy does where the price has always been so."""
    host = _busiest(world.undisturbed(seed, policy))
    price = next(_times(one.price, DEARER) for one in world.hosts if one.id == host)
    log, knows = (world.log(seed, policy, HostChange(host, start, price=price)) for start in (START, 0.0))
    return {"dollars of 10 min above perfect knowledge, %": _above(log, knows, START, START + DEARER_FOR)}


def _busiest(log: Log) -> str:
    return max(log.hosts, key=lambda host: log.share(host, USUAL, START))


def _times(price: Price, factor: float) -> Price:
    cached = None if price.cached_input is None else price.cached_input * factor
    return replace(price, input=price.input * factor, output=price.output * factor, cached_input=cached)


def _above(log: Log, knows: Log, start: float, end: float) -> float | None:
    over = _over(log.spent(start, end), knows.spent(start, end))
    return None if over is None else 100 * (over - 1)


def _over(one: float, other: float) -> float | None:
    return one / other if other else None


def _shown(values: Sequence[float | None]) -> str:
    """A mean over seeds, and how often what was waited for did not happen."""
    found = interval([one for one in values if one is not None and not isnan(one)])
    never = values.count(None)
    parts = (
        ["-"] if found is None else [f"{found.mean:.3g}" + (f" ± {found.half:.2g}" if found.half is not None else "")]
    )
    return "; ".join([*parts, f"never in {never} of {len(values)}"] if never else parts)
