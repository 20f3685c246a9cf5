"""The proxy without a server: breakers and probes on a clock that jumps, faults of our own, what is left behind."""

import gc
import json
import time
from dataclasses import replace

import pytest

from gateway.proxy.attempt import Attempt
from gateway.proxy.live_exchange import LiveExchange
from gateway.route.breaker import State
from gateway.types import PICO, Price, Window
from gateway.upstream.reader import Reader
from tests.proxy.routed import stalls, until
from tests.proxy.world import BAD, GOOD, Make
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams, usage


async def test_a_breaker_opens_half_opens_and_closes(make: Make) -> None:
    async with ScriptedHost([*[BAD] * 6, GOOD, GOOD, GOOD]) as host:
        world = make(host)
        breaker = world.fleet.states["a"].breaker
        for _ in range(5):
            assert (await world.ask()).status == 503
        assert breaker.state(world.clock()) is State.OPEN
        world.ahead += 10
        assert breaker.state(world.clock()) is State.HALF_OPEN
        assert (await world.ask()).status == 503
        assert breaker.state(world.clock()) is State.OPEN, "the probe failed"
        world.ahead += 20
        for _ in range(2):
            assert (await world.ask()).status == 200
        assert breaker.state(world.clock()) is State.CLOSED


async def test_a_client_that_leaves_gives_the_probe_back(make: Make) -> None:
    async with ScriptedHost([*[BAD] * 5, stalls, GOOD]) as host:
        world = make(host)
        for _ in range(5):
            await world.ask()
        world.ahead += 10
        sink = world.send()
        await host.until(lambda: len(host.requests) == 6)
        assert sink.source is not None
        sink.source.gone()
        await host.until(lambda: host.gone == 1)
        assert world.fleet.states["a"].breaker.allows(world.clock())
        assert (await world.ask()).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_fault_of_ours_is_reported_and_booked(
    make: Make, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedHost(GOOD) as host:
        world = make(host)
        world.destinations.clear()  # as if the wiring had forgotten an endpoint
        sink = await world.ask(stream)
        assert sink.status == 500
        assert json.loads(sink.body)["error"]["code"] == "internal_error"
        (row,) = world.rows()
        assert (row.outcome, row.attempt, row.last, row.client_status, row.cost) == ("internal", 1, True, 500, 0)
        assert "gen-1 failed inside the gateway" in caplog.text


async def test_a_fault_of_ours_in_a_stream_is_a_loud_end(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def script(request: Received, out: Out) -> None:
        world.wall_clock = broken_clock
        await streams(chunks("Hello"))(request, out)

    def broken_clock() -> float:
        world.wall_clock = time.time  # it fails once, when the attempt is booked
        raise RuntimeError("no time")

    async with ScriptedHost(script) as host:
        world = make(host)
        sink = await world.ask(stream=True)
        assert sink.status == 200
        assert b"Hello" in sink.body
        assert b"[DONE]" not in sink.body
        assert b"internal_error" in sink.body
        assert [(row.outcome, row.last) for row in world.rows()] == [("internal", True)]
        assert "failed inside the gateway" in caplog.text


async def test_a_fault_of_ours_between_two_attempts_closes_the_books(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def rejects(request: Received, out: Out) -> None:
        del world.destinations["a"]  # the account probe finds no address
        await answers(401, {})(request, out)

    async with ScriptedHost(rejects) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        sink = await world.ask()
        assert sink.status == 500
        assert [(row.attempt, row.outcome, row.last) for row in world.rows()] == [
            (1, "account", False),
            (0, "internal", True),
        ]
        assert "failed inside the gateway" in caplog.text


async def test_a_fault_of_ours_that_lasts_is_reported_all_the_same(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> float:
        raise RuntimeError("no time")

    async def script(request: Received, out: Out) -> None:
        world.wall_clock = breaks
        await GOOD(request, out)

    async with ScriptedHost(script) as host:
        world = make(host)
        assert (await world.ask()).status == 500
        assert "gen-1 is not booked" in caplog.text
        (state,) = world.fleet.states.values()
        state.in_flight = 0  # what could not be booked could not be released


async def test_a_fault_of_ours_after_the_cache_was_read_is_reported(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    world.fleets.clear()
    sink = await world.ask(cache="on")
    assert (sink.status, json.loads(sink.body)["error"]["code"]) == (500, "internal_error")
    assert "gen-1 failed inside the gateway" in caplog.text


async def test_no_endpoint_at_all(make: Make) -> None:
    world = make()
    sink = await world.ask()
    assert sink.status == 503
    assert world.rows()[0].outcome == "unrouted"


async def test_a_probe_that_is_not_answered_is_given_up(make: Make) -> None:
    refused = answers(401, {"error": {"message": "bad key"}})
    async with ScriptedHost([refused, stalls, refused, refused]) as host:
        world = make(host)
        await world.ask()
        await host.until(lambda: len(host.requests) == 2)
        world.wheel.fire()
        await host.until(lambda: host.gone == 1)
        await world.ask()
        await host.until(lambda: len(host.requests) == 4)  # the next probe may go out
        await until(lambda: world.fleet.states["a"].breaker.state(world.clock()) is State.OPEN)


async def test_a_gateway_that_stops_tries_no_other_model(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedHost(stalls) as host:
        world = make(host)
        sink = world.send()
        monkeypatch.setattr(sink, "moves_on", lambda: pytest.fail("the next of `models` is tried"))
        await host.until(lambda: len(host.requests) == 1)
        world.proxy.close()
        assert (sink.status, json.loads(sink.body)["error"]["code"]) == (503, "shutting_down")
        assert (b"retry-after", b"1") in sink.headers


async def test_a_probe_that_is_answered_is_over(make: Make) -> None:
    refused = answers(401, {"error": {"message": "bad key"}})
    async with ScriptedHost([refused, GOOD, refused, GOOD]) as host:
        world = make(host)
        for requests in (2, 4):
            await world.ask()
            await host.until(lambda requests=requests: len(host.requests) == requests)  # type: ignore[misc]
            await until(lambda: not world.runtime.probing)
        assert world.fleet.states["a"].breaker.state(world.clock()) is State.CLOSED


@pytest.mark.parametrize(("status", "opened"), [(401, "ab"), (402, "ab"), (403, "a"), (404, "a")])
async def test_what_concerns_the_credential_concerns_all_its_endpoints(make: Make, status: int, opened: str) -> None:
    async with ScriptedHost(answers(status, {"error": {"message": "no"}})) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        assert (await world.ask()).status == 200
        states = world.fleet.states
        await until(lambda: states["a"].breaker.state(world.clock()) is State.OPEN)
        found = [name for name, state in states.items() if state.breaker.state(world.clock()) is State.OPEN]
        assert found == list(opened)


def left() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, LiveExchange | Attempt | Reader)]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_exchange_that_has_ended_needs_no_garbage_collector(make: Make, stream: bool) -> None:
    good = streams(chunks("Hello")) if stream else GOOD
    async with ScriptedHost([good, BAD, good]) as host:
        world = make(host)
        await world.ask(stream)
        gc.collect()
        gc.disable()
        try:
            for _ in range(2):
                await world.ask(stream)
            await until(lambda: not left())
        finally:
            gc.enable()


@pytest.mark.parametrize(("hours", "endpoint"), [(0.1, "a"), (11.9, "a"), (12.1, "b"), (23.9, "b"), (24.1, "a")])
async def test_the_hour_of_the_day_has_its_price(make: Make, hours: float, endpoint: str) -> None:
    """In the plan and on the bill."""
    said = answers(200, completion("Hello", used=usage(1_000_000, 0)))
    async with ScriptedHost(said) as host:
        world = make(host, host)
        night = Price(0.3, 0.3, hours=(Window(0, 12, 0.1, 0.1),))
        a, b = (state.endpoint for state in world.fleet.states.values())
        world.fleet.configure([replace(a, price=night), replace(b, price=Price(0.2, 0.2))])
        world.wall_clock = lambda: 3_600 * (20_000 * 24 + hours)
        await world.ask()
        (row,) = world.rows()
        assert (row.endpoint, row.cost / PICO) == (endpoint, pytest.approx(0.1 if endpoint == "a" else 0.2, rel=0.01))
