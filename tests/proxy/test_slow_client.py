"""A client that does not keep up: its host is held back after the commit, not blamed, and not held for ever."""

import asyncio

import pytest

from tests.proxy.routed import DONE, ROLE, STOP, WORD, pauses, says, stalls, until
from tests.proxy.world import Make
from tests.support.host import Out, Received, ScriptedHost


async def test_one_that_stops_reading_counts_as_gone(make: Make) -> None:
    async with ScriptedHost(says(ROLE, WORD, then="stall")) as host:
        world = make(host)
        sink, source = await world.streaming()
        source.pause()
        source.pause()  # sinks may say it more than once
        world.wheel.fire()
        assert sink.aborted
        await host.until(lambda: host.gone == 1)
        assert [(row.outcome, row.client_status, row.last) for row in world.rows()] == [("cancelled", 499, True)]


async def test_one_that_reads_on_in_time_stays(make: Make) -> None:
    go = asyncio.Event()

    async def script(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(ROLE + WORD)
        await go.wait()
        await out.send(STOP + DONE)
        await out.end()

    async with ScriptedHost(script) as host:
        world = make(host)
        sink, source = await world.streaming()
        source.pause()
        source.resume()
        world.wheel.fire()
        assert not sink.aborted
        go.set()
        await sink.ended.wait()
        assert [row.outcome for row in world.rows()] == ["ok"]


async def test_one_that_was_slow_before_the_first_token_still_gets_it(make: Make) -> None:
    """Held back before its first token, a host would seem to be silent."""
    go = asyncio.Event()

    async def script(_: Received, out: Out) -> None:
        await go.wait()
        await out.head(200)
        await out.send(ROLE + WORD)
        await out.stall()

    async with ScriptedHost(script) as host:
        world = make(host)
        sink = world.send(stream=True)
        await host.until(lambda: len(host.requests) == 1)
        assert sink.source is not None
        sink.source.pause()
        go.set()
        await until(lambda: b"Hello" in sink.body)
        (state,) = world.fleet.states.values()
        (exchange,) = world.runtime.under_way
        assert exchange._answering is not None
        assert exchange._answering.held, "from the commit on the host is held back"
        assert state.in_flight == 1
        sink.source.gone()


@pytest.mark.parametrize("slow", [True, False])
async def test_the_speed_of_a_held_host_says_nothing(slow: bool, make: Make) -> None:
    """Of one that is not held, the tokens after the first count, over the time from the first on."""
    go = asyncio.Event()

    async with ScriptedHost(pauses(go, 50)) as host:
        world = make(host)
        sink, source = await world.streaming()
        if slow:
            source.pause()
            source.resume()
        world.ahead += 1_000.0
        go.set()
        await sink.ended.wait()
        (row,) = world.rows()
        assert (row.outcome, row.held) == ("ok", slow)
        assert world.measured_speed() == (None if slow else pytest.approx(49 / 1_000, rel=0.01))


async def test_one_that_left_while_the_cache_was_read_costs_nothing(make: Make) -> None:
    async with ScriptedHost(stalls) as host:
        world = make(host)
        sink = world.send(cache="on")
        sink.gone = True
        await sink.ended.wait()
        assert [(row.outcome, row.attempt, row.client_status) for row in world.rows()] == [("cancelled", 0, 499)]
        assert not host.requests


async def test_a_timer_that_is_set_again_runs_once_and_none_outlives_its_exchange(make: Make) -> None:
    async with ScriptedHost(says(ROLE + WORD, then="stall")) as host:
        world = make(host)
        sink, source = await world.streaming()
        for _ in range(3):
            source.pause()
            source.resume()
        source.pause()
        world.wheel.fire()
        assert sink.aborted
        world.wheel.fire()
        assert [(row.outcome, row.last) for row in world.rows()] == [("cancelled", True)]
