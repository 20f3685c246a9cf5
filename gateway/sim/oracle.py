"""A floor: no policy can pay less for this trace, whatever it knows.

Every request finds all that any request before it left in a cache, as if all hosts shared one, and goes where it is
cheapest. The cap on each host's share makes that a linear program; its Lagrangian dual gives a lower bound for any
choice of tolls per token, so the best of some steps of ascent is a floor, and never too high.

    floor(toll) = sum over requests of min over hosts (dollars + toll[host] x tokens) - share x all tokens x sum(toll)
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.route.toll import SLACK_TOKENS
from gateway.sim.baselines import MILLION
from gateway.sim.blocks import BlockCache
from gateway.sim.fleet import SimHost
from gateway.sim.workload import TraceRow

STEPS = 40


class Floor(NamedTuple):
    blended_price: float  # USD per 1M tokens
    cache_hit: float  # share of input tokens


def floor(rows: Sequence[TraceRow], hosts: Sequence[SimHost], cap: float = 1.0) -> Floor:
    """The floor of a trace of at least one request. `cap`: largest share of all tokens for one host."""
    cache = BlockCache(max(host.cache_ttl for host in hosts))
    bills: list[tuple[int, list[float]]] = []  # tokens, and dollars at each host
    hits = 0
    for row in rows:
        hit = cache.cached(row.prefix_hashes, row.input_tokens, row.t)
        cache.read(row.prefix_hashes, row.t)
        hits += hit
        bills.append((row.input_tokens + row.output_tokens, [_dollars(host, row, hit) for host in hosts]))
    total = sum(tokens for tokens, _ in bills)
    share = 1.0 if cap >= 1 else min(1.0, cap + SLACK_TOKENS / total)
    return Floor(_ascend(bills, total, share) / total * MILLION, hits / sum(row.input_tokens for row in rows))


def _dollars(host: SimHost, row: TraceRow, hit: int) -> float:
    given = hit if host.hit_efficiency else 0
    p_in, p_cached, p_out = host.price.rates(row.input_tokens, int(row.t // 3600) % 24)
    return ((row.input_tokens - given) * p_in + given * p_cached + row.output_tokens * p_out) / MILLION


def _ascend(bills: list[tuple[int, list[float]]], total: int, share: float) -> float:
    """Dollars of the best floor found. A toll rises while its host has more than its share."""
    hosts = len(bills[0][1])
    tolls = [0.0] * hosts
    best = 0.0
    usual = sum(min(dollars) for _, dollars in bills) / total  # dollars a token: the size of a step
    for step in range(1, STEPS + 1):
        load = [0] * hosts
        bound = -share * total * sum(tolls)
        for tokens, dollars in bills:
            tolled = [usd + tokens * toll for usd, toll in zip(dollars, tolls, strict=True)]
            least = min(tolled)
            bound += least
            load[tolled.index(least)] += tokens
        best = max(best, bound)
        tolls = [
            max(0.0, toll + usual / step * (taken / total - share)) for toll, taken in zip(tolls, load, strict=True)
        ]
    return best
