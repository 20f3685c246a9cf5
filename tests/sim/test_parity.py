"""One core, two shells: the live proxy before hosts on sockets decides and books as the simulator does.

    rows ──> Engine ── Router ── Behaviour                     virtual time
         └─> Proxy ── transport ══ HTTP ══ hosts ── Behaviour  a clock that stands at each row's time

Hosts answer in no time at all in both, so that the times on which decisions rest agree. In the middle of the workload
one host stops giving cache hits, one recovers, and one gets dearer.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import pytest

from gateway.route.fleet import Fleet
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.sim.behaviour import Behaviour, Course
from gateway.sim.changes import HostChange, reconfigured
from gateway.sim.engine import Engine, requests
from gateway.sim.router import Router
from gateway.sim.sim_host import FaultRates, SimHost, Spread, Wait
from gateway.sim.workload import TraceRow, read_trace, spread
from gateway.types import Attempts, Cap, Endpoint, Pick, Policy, Price, PromptCache, Request, Row, Score
from gateway.upstream.transport.address import Address
from tests.proxy.world import MODEL, World, Written
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, streams, usage

SEED = 7
ROWS = 120
BEST = Policy(
    "floor",
    score=Score(value_of_time=0.0),
    pick=Pick(how="best", explore=0.0),
    attempts=Attempts(retries=0),  # the clock stands: no pause would end
)
POLICIES = [
    replace(BEST, name="sampled", score=Score(), pick=Pick(how="sample", edge=0.5, explore=0.1)),
    BEST,
    replace(BEST, name="capped", cap=Cap(share=0.4)),
]


class Went(NamedTuple):
    """One attempt."""

    request: str
    endpoint: str
    ok: bool
    cached: int
    cost: int


class Instant(Behaviour):
    """Hosts whose answers, and refusals, take no time."""

    def send(self, name: str, number: int, row: TraceRow, now: float) -> Course:
        course = super().send(name, number, row, now)
        first = 0.0 if course.failure is None else course.first
        return msgspec.structs.replace(course, first=first, last=0.0)


def host(name: str, price: float, cached: float, errors: float = 0.1) -> SimHost:
    none = FaultRates(rate_limited=0.0, server_error=errors, cut=0.0)
    return SimHost(name, name, Price(price, 0.4, cached), Wait(1.0, 1.5), Spread(30, 40), 0.99, none, cache_ttl=60.0)


HOSTS = [host("a", 0.25, 0.05), host("b", 0.22, 0.22), host("c", 0.28, 0.03), host("d", 0.2, 0.1, errors=0.6)]


def endpoint(one: SimHost, url: str = "http://127.0.0.1:1") -> Endpoint:
    return Endpoint(one.id, one.id, f"{url}/v1", "m", price=one.price, cache=PromptCache(True, one.cache_ttl))


def workload() -> list[TraceRow]:
    return spread(read_trace(limit=ROWS), SEED)


MIDDLE = workload()[ROWS // 2].t - 1e-6
CHANGES = [
    HostChange("a", MIDDLE, hit_efficiency=0.0),
    HostChange("c", MIDDLE, price=Price(0.5, 0.8, 0.3)),
    HostChange("d", MIDDLE, errors=0.0),
]


def behaviour() -> Behaviour:
    return Instant(HOSTS, SEED, 0.0, 0.0, CHANGES)


def simulated(policy: Policy, rows: Sequence[TraceRow]) -> tuple[list[tuple[str, str]], Engine]:
    """(request, endpoint) of every attempt, and the replay."""
    sent: list[tuple[str, str]] = []

    class Noted(Router):
        def sent(self, tried: TrackedAttempt, row: TraceRow, now: float) -> None:
            sent.append((tried.request.id, tried.state.endpoint.id))
            super().sent(tried, row, now)

    engine = Engine(rows, requests(rows, MODEL), Noted("core", policy, list(map(endpoint, HOSTS)), SEED), behaviour())
    engine.run()
    return sent, engine


class Live:
    """The live proxy on a clock that stands where the test puts it."""

    def __init__(self, folder: Path, policy: Policy, rows: Sequence[TraceRow]) -> None:
        self.rows = rows
        self.now = 0.0
        self.behaviour = behaviour()
        self.world = World(folder)
        self.world.policy = policy
        self.world.clock = lambda: self.now
        self.world.rng = Random(SEED).random

    def script(self, name: str) -> Script:
        """What a host answers over HTTP: the course that its behaviour has for this request."""

        async def answer(received: Received, out: Out) -> None:
            number = int(received.json()["seed"])
            row = self.rows[number]
            course = self.behaviour.send(name, number, row, row.t)
            self.behaviour.over(name)
            if course.failure is not None:
                await answers(503, {"error": {"message": "overloaded"}})(received, out)
                return
            used = usage(course.usage.prompt, course.usage.completion, course.usage.cached)
            await streams(chunks("Hi", used=used))(received, out)

        return answer

    async def run(self, hosts: dict[str, ScriptedHost]) -> list[Row]:
        endpoints = [endpoint(one, hosts[one.id].url) for one in HOSTS]
        self.world.fleets[MODEL] = Fleet(endpoints)
        self.world.destinations.update({one.id: Address(one, None, self.world.transport) for one in endpoints})
        reloads = deque(reconfigured(CHANGES))
        for request, row in zip(requests(self.rows, MODEL), self.rows, strict=True):
            self.now = row.t
            while reloads and reloads[0] <= row.t:
                self.reload(endpoints, reloads.popleft())
            await self.ask(request)
        self.world.transport.close()
        return self.world.rows()

    def reload(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """The configuration takes the prices of this moment."""
        prices = {one.id: self.behaviour.phase(one.id, now).host.price for one in endpoints}
        self.world.fleets[MODEL].configure(replace(one, price=prices[one.id]) for one in endpoints)

    async def ask(self, request: Request) -> None:
        said = [{"role": "user", "content": "Hi"}]
        body = {"model": MODEL, "messages": said, "seed": int(request.id), "stream": True}
        sink = Written()
        policy = self.world.policy
        asked = msgspec.structs.replace(request, body=body, policy=policy.name)
        self.world.proxy.serve(asked, policy, sink, self.now)
        await sink.ended.wait()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
async def test_both_shells_decide_and_book_alike(tmp_path: Path, policy: Policy) -> None:
    rows = workload()
    sent, engine = simulated(policy, rows)
    live = Live(tmp_path, policy, rows)
    async with AsyncExitStack() as stack:
        hosts = {one.id: await stack.enter_async_context(ScriptedHost(live.script(one.id))) for one in HOSTS}
        booked = await live.run(hosts)
    assert [(row.exchange, row.endpoint) for row in booked] == sent
    figures = engine.tally.figures()
    good = [row for row in booked if row.outcome == "ok"]
    tokens = sum(row.prompt_tokens + row.completion_tokens for row in good)
    assert len(sent) > len(rows), "no host failed"
    assert len({name for _, name in sent}) > 1
    assert figures.success == len(good) / len(rows)
    assert figures.cache_hit == sum(row.cached_tokens for row in good) / sum(row.prompt_tokens for row in good)
    assert figures.blended_price == pytest.approx(sum(row.cost for row in booked) / 1e6 / tokens, rel=1e-12)
