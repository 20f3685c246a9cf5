"""A lower bound: no policy can pay less for this trace, with any knowledge.

Every request finds in a cache all that an earlier request left there, as if all hosts shared one cache, and goes to the
cheapest host. The cap on each host's share makes this a linear program; the result is the maximum of its Lagrangian
dual (`dual.py`), so it is never too high, and as high as possible.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.route.toll import SLACK_TOKENS
from gateway.sim.blocks import BlockCache
from gateway.sim.dual import Bill, Climb, Dual
from gateway.sim.router_rules import MILLION
from gateway.sim.sim_host import SimHost
from gateway.sim.workload import TraceRow


class Floor(NamedTuple):
    blended_price: float  # USD per 1M tokens
    cache_hit: float  # share of input tokens


def floor(rows: Sequence[TraceRow], hosts: Sequence[SimHost], cap: float = 1.0) -> Floor:
    """The lower bound for a trace of at least one request. `cap`: largest share of all tokens for one host."""
    cache = BlockCache(max(host.cache_ttl for host in hosts))
    bills: list[Bill] = []
    hits = 0
    for row in rows:
        hit = cache.cached(row.prefix_hashes, row.input_tokens, row.t)
        cache.read(row.prefix_hashes, row.t)
        hits += hit
        bills.append((row.input_tokens + row.output_tokens, [_dollars(host, row, hit) for host in hosts]))
    total = sum(tokens for tokens, _ in bills)
    share = 1.0 if cap >= 1 else min(1.0, cap + SLACK_TOKENS / total)
    return Floor(Climb(Dual(bills, share)).top() / total * MILLION, hits / sum(row.input_tokens for row in rows))


def _dollars(host: SimHost, row: TraceRow, hit: int) -> float:
    given = hit if host.hit_efficiency else 0
    p_in, p_cached, p_out = host.price.rates(row.input_tokens, int(row.t // 3600) % 24)
    return ((row.input_tokens - given) * p_in + given * p_cached + row.output_tokens * p_out) / MILLION
