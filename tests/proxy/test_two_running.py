"""Two attempts at once, on timers that go off when told: what a client, a stop or a fault of ours does to them."""

from dataclasses import replace

import pytest

from gateway.types import Delay, Hedge
from tests.proxy.routed import DONE, ROLE, STOP, WORD, stalls, until
from tests.proxy.world import GOOD, MODEL, POLICY, Make, World, Written
from tests.support.host import Out, Received, ScriptedHost, answers

HEDGED = replace(POLICY, hedge=Hedge(Delay(seconds=0.8), 1.0, 1.0))


async def late(world: World, first: ScriptedHost) -> Written:
    """A stream that the first host was asked for, and that may be hedged when timers go off."""
    world.policy = HEDGED
    budget = world.runtime.budgets.of(HEDGED, MODEL)
    assert budget is not None
    budget.spent(1.0)
    sink = world.send(stream=True)
    await first.until(lambda: len(first.requests) == 1)
    return sink


async def racing(world: World, first: ScriptedHost, second: ScriptedHost) -> Written:
    """A stream that both hosts were asked for."""
    sink = await late(world, first)
    world.wheel.fire()
    await second.until(lambda: len(second.requests) == 1)
    return sink


def told(world: World) -> list[tuple[int, str, str, bool]]:
    return [(row.attempt, row.outcome, row.hedge, row.last) for row in world.rows()]


async def test_a_stop_ends_both_and_tells_the_client(make: Make) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost(stalls) as second:
        world = make(first, second)
        sink = await racing(world, first, second)
        assert sum(state.in_flight for state in world.fleet.states.values()) == 2
        world.proxy.close()
        assert b"the gateway is shutting down" in sink.body
        assert told(world) == [(1, "cancelled", "", False), (2, "cancelled", "cancelled", True)]
        assert [row.client_status for row in world.rows()] == [0, 200]
        await first.until(lambda: first.gone == 1)
        await second.until(lambda: second.gone == 1)
        assert len(world.wheel) == 0


async def test_a_fault_of_ours_ends_both(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost(stalls) as second:
        world = make(first, second)
        sink = await late(world, first)
        world.destinations.clear()  # as if the wiring had forgotten the second
        world.wheel.fire()
        await first.until(lambda: first.gone == 1)
        assert b"internal_error" in sink.body
        assert told(world) == [(1, "internal", "", False), (2, "internal", "cancelled", True)]
        assert "failed inside the gateway" in caplog.text


async def test_a_client_that_is_slow_while_both_are_tried_holds_the_winner(make: Make) -> None:
    async with ScriptedHost(stalls) as first:
        go = False

        async def follows(_: Received, out: Out) -> None:
            await second.until(lambda: go)
            await out.head(200)
            await out.send(ROLE + WORD)
            await out.stall()

        async with ScriptedHost(follows) as second:
            world = make(first, second)
            sink = await racing(world, first, second)
            assert sink.source is not None
            sink.source.pause()
            go = True
            await until(lambda: b"Hello" in sink.body)
            (exchange,) = world.runtime.under_way
            assert exchange._answering is not None
            assert (exchange._answering.send.attempt, exchange._answering.held) == (2, True)
            assert [row.held for row in world.rows()] == [False], "the loser was held by nobody"
            sink.source.resume()
            sink.source.gone()


async def test_whole_answers_are_not_hedged(make: Make) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        world.policy = HEDGED
        sink = world.send()
        await first.until(lambda: len(first.requests) == 1)
        assert not second.requests
        assert len(world.wheel.timers) == 1
        assert sink.source is not None
        sink.source.gone()


@pytest.mark.parametrize("hedge", [Hedge(Delay(seconds=0.8), 0.0, 1.0), Hedge(Delay(seconds=0.8), 1.0, 0.0)])
async def test_without_a_budget_only_the_first_is_waited_for(hedge: Hedge, make: Make) -> None:
    released = False

    async def slow(_: Received, out: Out) -> None:
        await first.until(lambda: released)
        await out.head(200)
        await out.send(ROLE + WORD + STOP + DONE)
        await out.end()

    async with ScriptedHost(slow) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        world.policy = replace(POLICY, hedge=hedge)
        sink = world.send(stream=True)
        await first.until(lambda: len(first.requests) == 1)
        world.wheel.fire()
        released = True
        await sink.ended.wait()
        assert not second.requests
        assert told(world) == [(1, "ok", "", True)]


async def test_a_budget_that_is_used_up_is_saved_up_again(make: Make) -> None:
    """At half of all requests, every second one is raced."""
    async with ScriptedHost(stalls) as first, ScriptedHost(answers(500, {})) as second:
        world = make(first, second)
        world.policy = replace(POLICY, hedge=Hedge(Delay(seconds=0.8), 0.5, 1.0))
        budget = world.runtime.budgets.of(world.policy, MODEL)
        assert budget is not None
        budget.spent(1.0)
        asked = []
        for number in range(1, 7):
            sink = world.send(stream=True)
            await first.until(lambda wanted=number: len(first.requests) == wanted)  # type: ignore[misc]
            world.wheel.fire()
            (exchange,) = world.runtime.under_way
            asked.append(len(exchange._attempts))
            assert sink.source is not None
            sink.source.gone()
            world.wheel.timers.clear()
        assert asked == [1, 2, 1, 2, 1, 2]
