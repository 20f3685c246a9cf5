"""The same endpoint asked again, live: failover in time where there is none in space."""

import asyncio
from dataclasses import replace

import pytest

from gateway.types import Attempts
from tests.proxy.routed import STOP, WORD, Routed, cuts, data, outcomes, rows, says, stalls, until
from tests.proxy.world import GOOD, Make, World, Written
from tests.support.host import Script, ScriptedHost, answers, chunks, completion, streams

ONE_KEY = {"attempts": {"max": 4, "within": "30s"}}
PASSES = pytest.mark.parametrize(
    "failing",
    [
        answers(500, {}),
        answers(529, {"error": {"message": "overloaded"}}),
        cuts,
        says(data({"error": {"message": "overloaded", "code": 503}})),
        answers(429, {}, {"retry-after": "0"}),
        answers(503, {}, {"retry-after-ms": "100"}),
    ],
    ids=["500", "529", "cut", "in band", "429", "503"],
)
STREAM = pytest.mark.parametrize("stream", [True, False])


def good(stream: bool) -> Script:
    return streams(chunks("Hello")) if stream else answers(200, completion("Hello"))


@PASSES
@STREAM
async def test_a_lone_endpoint_is_tried_again(failing: Script, stream: bool, routed: Routed) -> None:
    async with ScriptedHost([failing, good(stream)]) as host, routed(host, **ONE_KEY) as running:
        response = await running.chat(stream=stream)
        assert response.status_code == 200
        assert "Hello" in response.text
        assert response.headers["x-gateway-attempts"] == "2"
        first, second = rows(running)
        assert (first.endpoint, first.last, second.endpoint, second.last) == ("a/fp8", False, "a/fp8", True)


@STREAM
async def test_an_endpoint_that_comes_first_is_tried_once_more_before_the_next(stream: bool, routed: Routed) -> None:
    async with (
        ScriptedHost(answers(503, {})) as first,
        ScriptedHost(good(stream)) as second,
        routed(first, second, attempts={"max": 4}) as running,
    ):
        assert (await running.chat(stream=stream)).status_code == 200
        assert outcomes(running) == [("a/fp8", "server"), ("a/fp8", "server"), ("b/fp8", "ok")]


async def test_a_client_that_leaves_during_the_pause_closes_its_exchange(routed: Routed) -> None:
    failing = answers(503, {}, {"retry-after": "5"})
    async with ScriptedHost(failing) as host, routed(host, **ONE_KEY) as running:
        asked = asyncio.create_task(running.chat(stream=True))
        await until(lambda: outcomes(running) == [("a/fp8", "server")])
        asked.cancel()
        await until(lambda: len(rows(running)) == 2)
        closing = rows(running)[-1]
        assert (closing.attempt, closing.outcome, closing.client_status) == (0, "cancelled", 499)
        assert len(host.requests) == 1


async def in_a_pause(world: World, host: ScriptedHost) -> Written:
    """A client whose only host has failed once."""
    world.policy = replace(world.policy, attempts=Attempts())
    sink = world.send()
    await until(lambda: len(world.rows()) == 1 and len(host.requests) == 1)
    return sink


async def test_a_pause_is_none_of_the_gateways_own_time(make: Make) -> None:
    async with ScriptedHost([answers(503, {}), GOOD]) as host:
        world = make(host)
        sink = await in_a_pause(world, host)
        world.ahead += 100.0
        world.wheel.fire()
        await sink.ended.wait()
        row = world.rows()[-1]
        assert row.client_duration > 100
        assert row.overhead < 50


async def test_nor_is_a_pause_during_which_the_client_leaves(make: Make) -> None:
    async with ScriptedHost(answers(503, {})) as host:
        world = make(host)
        sink = await in_a_pause(world, host)
        world.ahead += 100.0
        assert sink.source is not None
        sink.source.gone()
        row = world.rows()[-1]
        assert (row.outcome, row.overhead < 50) == ("cancelled", True)


async def test_a_stop_during_the_pause_ends_it(make: Make) -> None:
    async with ScriptedHost(answers(503, {})) as host:
        world = make(host)
        sink = await in_a_pause(world, host)
        world.proxy.close()
        assert b"shutting_down" in sink.body
        closing = world.rows()[-1]
        assert (closing.attempt, closing.last, closing.client_status) == (0, True, 503)
        assert world.is_at_rest()


@STREAM
async def test_a_silent_host_is_not_tried_again(stream: bool, routed: Routed) -> None:
    clocks = {"first_token": "200ms", "first_token_per_10k": "0s"}
    policy = {"attempts": {"max": 4, "within": "400ms"}, "timeouts": clocks}
    async with ScriptedHost(stalls) as host, routed(host, **policy) as running:
        assert (await running.chat(stream=stream)).status_code == 504
        assert outcomes(running) == [("a/fp8", "timeout_first_token")]


async def test_after_the_finish_chunk_a_host_has_seconds(routed: Routed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.proxy.live_exchange.ENDING", 0.1)
    silent = says(WORD, STOP, then="stall")
    async with ScriptedHost(silent) as host, routed(host, timeouts={"gap": "60s"}) as running:
        response = await running.chat(stream=True)
        assert "[DONE]" in response.text
        assert outcomes(running) == [("a/fp8", "ok")]
