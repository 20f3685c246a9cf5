"""What one attempt is booked with, and what becomes of its connection behind the answer."""

import asyncio
from typing import Any

import pytest

from gateway.proxy.attempt import CONTEXTS
from gateway.route.tracked_attempt import MEASURES_SPEED
from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, data, pauses, rows, says
from tests.proxy.world import Make
from tests.support.host import ScriptedHost, answers, completion, usage

CONTEXT = 1_000


@pytest.mark.parametrize(
    ("prompt", "output", "choices", "source"),
    [
        (CONTEXTS * CONTEXT, 5, 1, "host"),
        (CONTEXTS * CONTEXT + 1, 5, 1, "counted"),
        (5, CONTEXTS * CONTEXT, 1, "host"),
        (5, CONTEXTS * CONTEXT + 1, 1, "counted"),
        (5, 2 * CONTEXTS * CONTEXT, 2, "host"),
        (5, 2 * CONTEXTS * CONTEXT + 1, 2, "counted"),
        (CONTEXTS * CONTEXT + 1, 5, 2, "counted"),
    ],
)
async def test_a_count_is_taken_up_to_several_contexts_for_each_choice(
    prompt: int, output: int, choices: int, source: str, routed: Routed
) -> None:
    said = completion("Hello", used=usage(prompt, output))
    said["choices"] = [{**said["choices"][0], "index": index} for index in range(choices)]
    settings: Any = {"endpoint": {"context": CONTEXT}}
    async with ScriptedHost(answers(200, said)) as host, routed(host, settings=settings) as running:
        await running.chat(n=choices)
        (row,) = rows(running)
        assert (row.outcome, row.usage_source) == ("ok", source)


@pytest.mark.parametrize(("tokens", "measured"), [(MEASURES_SPEED, True), (MEASURES_SPEED - 1, False)])
async def test_a_short_answer_says_nothing_of_the_speed(tokens: int, measured: bool, make: Make) -> None:
    go = asyncio.Event()

    async with ScriptedHost(pauses(go, tokens)) as host:
        world = make(host)
        sink, _ = await world.streaming()
        world.ahead += 100.0
        go.set()
        await sink.ended.wait()
        (row,) = world.rows()
    assert world.measured_speed() == (pytest.approx((tokens - 1) / 100.0, rel=0.05) if measured else None)
    assert row.throughput == (pytest.approx(world.measured_speed()) if measured else None), "policies and metrics agree"


async def test_an_answer_that_came_at_once_says_nothing_of_the_speed(make: Make) -> None:
    """All of it in one piece: there is no time to divide by."""
    used = data({"choices": [], "usage": usage(completion=500)})
    async with ScriptedHost(says(ROLE + WORD + STOP + used + DONE)) as host:
        world = make(host)
        world.clock = lambda: 50.0
        sink = world.send(stream=True)
        await sink.ended.wait()
        assert [row.outcome for row in world.rows()] == ["ok"]
    assert world.measured_speed() is None


async def test_a_host_that_does_not_end_its_answer_is_hung_up_on_after_a_while(make: Make) -> None:
    async with ScriptedHost(says(ROLE + WORD + STOP + DONE, then="stall")) as host:
        world = make(host)
        sink = world.send(stream=True)
        await sink.ended.wait()
        assert b"[DONE]" in sink.body
        assert host.gone == 0, "it may still end properly, and its connection be kept"
        world.wheel.fire()
        await host.until(lambda: host.gone == 1)
        assert [row.outcome for row in world.rows()] == ["ok"]
