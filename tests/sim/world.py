"""Simulated hosts and traces for tests of replays: hosts without chance, unless a test wants some."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.sim.behaviour import Behaviour
from gateway.sim.changes import HostChange
from gateway.sim.demofleet import FLEET
from gateway.sim.engine import Engine, requests
from gateway.sim.fleetfile import endpoint
from gateway.sim.replay_log import Log
from gateway.sim.router import Router
from gateway.sim.sim_host import TYPICAL_UNCACHED, FaultRates, SimHost, Spread, Wait
from gateway.sim.workload import TraceRow
from gateway.types import Dialect, Pick, Policy, Price, Score

CALM = FaultRates(0.0, 0.0, 0.0)
STEADY = replace(FLEET[0], rates=CALM)
PROMPT = TYPICAL_UNCACHED  # tokens: a prompt of this size takes as long as the host's median says
CHEAPEST = Policy(name="cheapest", score=Score(value_of_time=0.0), pick=Pick(how="best", explore=0.0))


def host(name: str, ttft: float = 1.0, **changes: Any) -> SimHost:
    """A host that never fails and always takes the same time."""
    facts: dict[str, Any] = {
        "id": name,
        "name": name,
        "price": Price(0.2, 0.4, 0.02),
        "ttft": Wait(ttft, ttft),
        "throughput": Spread(50.0, 50.0),
        "uptime": 1.0,
        "rates": CALM,
        "dialect": Dialect(),
        "hit_efficiency": 1.0,
        "cache_ttl": 300.0,
    }
    return SimHost(**facts | changes)


def row(t: float, *hashes: int, tokens: int = PROMPT, output: int = 100) -> TraceRow:
    return TraceRow(t, tokens, output, hashes)


def replay(
    rows: Sequence[TraceRow],
    hosts: Sequence[SimHost],
    policy: Policy = CHEAPEST,
    seed: int = 0,
    days: float = 1.0,
    changes: Sequence[HostChange] = (),
) -> Engine:
    """The engine after its run: `engine.tally` and `engine.log` have what came of it."""
    behaviour = Behaviour(hosts, seed, rows[-1].t, days, changes)
    router = Router(policy.name, policy, list(map(endpoint, hosts)), seed)
    log = Log(len(rows), [one.id for one in hosts])
    engine = Engine(rows, requests(rows, "m"), router, behaviour, log)
    engine.run()
    return engine
