"""Requests that wait for a place at a host at its `limits.concurrency`: sent when one is free, else shed."""

import asyncio
import json
from dataclasses import replace

from gateway.types import Limits
from tests.proxy.routed import until
from tests.proxy.world import GOOD, Make, World, Written
from tests.support.host import Out, Received, ScriptedHost


class Gated:
    """A host that answers as many requests as it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)

    async def __call__(self, request: Received, out: Out) -> None:
        await self.go.acquire()
        await GOOD(request, out)


def limited(world: World, concurrency: int = 1) -> World:
    states = world.fleet.states.values()
    world.fleet.configure([replace(one.endpoint, limits=Limits(concurrency=concurrency)) for one in states])
    return world


async def ended(*sinks: Written) -> None:
    async with asyncio.timeout(60):
        for sink in sinks:
            await sink.ended.wait()


async def test_it_is_sent_when_a_place_is_free(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = limited(make(host))
        one = world.send()
        await host.until(lambda: len(host.requests) == 1)
        two = world.send()
        assert world.fleet.slots.size == 1
        script.go.release()
        await ended(one)
        await host.until(lambda: len(host.requests) == 2)
        script.go.release()
        await ended(two)
        assert (one.status, two.status) == (200, 200)
        assert world.fleet.slots.size == 0
        assert max(row.overhead for row in world.rows()) < max(row.client_duration for row in world.rows())


async def test_too_many_are_shed_at_once(make: Make) -> None:
    """Of one tenant one may wait here; the last one is the one too many."""
    script = Gated()
    async with ScriptedHost(script) as host:
        world = limited(make(host))
        one = world.send()
        await host.until(lambda: len(host.requests) == 1)
        two, three = world.send(), world.send()
        await ended(three)
        assert (three.status, dict(three.headers)[b"retry-after"]) == (503, b"1")
        assert json.loads(three.body)["error"]["code"] == "overloaded"
        assert world.fleet.slots.shed == 1
        (row,) = world.rows()
        assert (row.outcome, row.client_status, row.cost, row.last) == ("unrouted", 503, 0, True)
        script.go.release()
        script.go.release()
        await ended(one, two)
        assert (one.status, two.status, len(host.requests)) == (200, 200, 2)


async def test_a_flood_of_one_tenant_does_not_shed_another(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = limited(make(host))
        flood = [world.send(tenant="flood")]
        await host.until(lambda: len(host.requests) == 1)
        flood += [world.send(tenant="flood") for _ in range(5)]
        few = world.send(tenant="few")
        flood += [world.send(tenant="flood") for _ in range(5)]
        for _ in range(3):
            script.go.release()
        await ended(few, *flood)
        assert few.status == 200
        assert [sink.status for sink in flood].count(200) == 2


async def test_after_the_wait_it_is_shed(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = limited(make(host))
        one = world.send()
        await host.until(lambda: len(host.requests) == 1)
        two = world.send()
        world.wheel.timers[-1].fire()
        await ended(two)
        assert two.status == 503
        assert world.fleet.slots.size == 0
        script.go.release()
        await ended(one)


async def test_who_leaves_the_queue_is_not_sent(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = limited(make(host))
        one = world.send()
        await host.until(lambda: len(host.requests) == 1)
        two = world.send()
        assert two.source is not None
        two.source.gone()
        assert world.fleet.slots.size == 0
        script.go.release()
        await ended(one)
        await until(world.is_at_rest)
        assert len(host.requests) == 1


async def test_a_full_host_that_is_no_better_is_passed_by(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as a, ScriptedHost(GOOD) as b:
        world = limited(make(a, b))
        one = world.send()
        await a.until(lambda: len(a.requests) == 1)
        two = await world.ask()
        assert (two.status, len(b.requests)) == (200, 1)
        script.go.release()
        await ended(one)
