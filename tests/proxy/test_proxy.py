"""The proxy without a server: a clock that jumps, a sink that writes down, faults of our own."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.cache.responses import ResponseCache
from gateway.proxy.attempt import Attempt
from gateway.proxy.books import Books
from gateway.proxy.proxy import Proxy
from gateway.proxy.recent import Recent
from gateway.proxy.serving import Serving
from gateway.proxy.sink import Headers, Source
from gateway.proxy.wheel import Timer, Wheel
from gateway.route.fleet import Fleet
from gateway.route.health import State
from gateway.state.store import Store
from gateway.telemetry.ledger import Ledger, read
from gateway.telemetry.metrics import Metrics, prepare_folder
from gateway.types import CacheMode, Endpoint, Pick, Policy, Price, Request, Row
from gateway.upstream.dialects import Address
from gateway.upstream.reader import Reader
from gateway.upstream.transport import Transport
from tests.proxy.routed import stalls, until
from tests.support.gateway import NO_STORE
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

MODEL = "deepseek/deepseek-v3.2"
GOOD = answers(200, completion("Hello"))
BAD = answers(500, {})
POLICY = Policy("test", pick=Pick(how="best", explore=0.0))


class Written:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.ended = asyncio.Event()
        self.source: Source | None = None

    def start(self, status: int, headers: Headers) -> None:
        assert not self.status, "two heads"
        self.status, self.headers = status, headers

    def write(self, data: bytes) -> None:
        assert self.status, "a body before its head"
        assert not self.ended.is_set(), "a body after the end"
        self.body += data

    def end(self) -> None:
        assert not self.ended.is_set(), "two ends"
        self.ended.set()
        self.source = None

    def attach(self, source: Source) -> None:
        if not self.ended.is_set():
            self.source = source


class LateWheel(Wheel):
    """A wheel whose timers go off when the test says so."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.timers: list[Timer] = []

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(call))
        return self.timers[-1]

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            timer.fire()


class World:
    """One proxy over these hosts, `a`, `b`, ..., on a clock that can be put forward."""

    def __init__(self, folder: Path, *hosts: ScriptedHost) -> None:
        self.ahead = 0.0
        price = Price(input=0.25, output=0.5)
        endpoints = [
            Endpoint(name, name, f"{host.url}/v1", "m", price=price, api_key_env="SHARED")
            for name, host in zip("abc", hosts, strict=False)
        ]
        self.fleet = Fleet(endpoints)
        self.transport = Transport()
        self.wheel = LateWheel()
        self.in_flight = 0
        self.ledger = folder / "ledger"
        prepare_folder(folder / "metrics")
        self.proxy = Proxy(
            fleets={MODEL: self.fleet},
            addresses={one.id: Address(one, None) for one in endpoints},
            transport=self.transport,
            wheel=self.wheel,
            cache=ResponseCache(Store(NO_STORE)),
            books=Books(Ledger(self.ledger), Metrics(folder / "metrics"), Recent()),
            in_flight=self._count,
            clock=lambda: time.monotonic() + self.ahead,
            chance=lambda: 0.5,
        )
        self._asked = 0

    def _count(self, change: int) -> None:
        self.in_flight += change

    def rows(self) -> list[Row]:
        return list(read(self.ledger))

    def send(self, stream: bool = False, cache: CacheMode = "default") -> Written:
        self._asked += 1
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        request = Request(f"gen-{self._asked}", body, MODEL, POLICY.name, stream=stream, prompt_tokens=5, cache=cache)
        sink = Written()
        self.proxy.serve(request, POLICY, sink, self.proxy.clock())
        return sink

    async def ask(self, stream: bool = False, cache: CacheMode = "default") -> Written:
        sink = self.send(stream, cache)
        async with asyncio.timeout(10):
            await sink.ended.wait()
        return sink

    def is_at_rest(self) -> bool:
        """Whether nothing of any exchange is left."""
        used = sum(state.in_flight for state in self.fleet.states.values())
        return not self.proxy.live and self.in_flight == 0 and used == 0


Make = Callable[..., World]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    worlds: list[World] = []

    def world(*hosts: ScriptedHost) -> World:
        worlds.append(World(tmp_path, *hosts))
        return worlds[-1]

    yield world
    for one in worlds:
        assert one.is_at_rest(), one.proxy.live
        one.transport.close()
    await asyncio.sleep(0)


async def test_a_breaker_opens_half_opens_and_closes(make: Make) -> None:
    async with ScriptedHost([*[BAD] * 6, GOOD, GOOD, GOOD]) as host:
        world = make(host)
        breaker = world.fleet.states["a"].breaker
        for _ in range(5):
            assert (await world.ask()).status == 503
        assert breaker.state(world.proxy.clock()) is State.OPEN
        world.ahead += 10
        assert breaker.state(world.proxy.clock()) is State.HALF_OPEN
        assert (await world.ask()).status == 503
        assert breaker.state(world.proxy.clock()) is State.OPEN, "the probe failed"
        world.ahead += 20
        for _ in range(2):
            assert (await world.ask()).status == 200
        assert breaker.state(world.proxy.clock()) is State.CLOSED


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
        assert world.fleet.states["a"].breaker.allows(world.proxy.clock())
        assert (await world.ask()).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_fault_of_ours_is_told_and_booked(make: Make, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedHost(GOOD) as host:
        world = make(host)
        world.proxy.addresses = {}  # as if the wiring had forgotten an endpoint
        sink = await world.ask(stream)
        assert sink.status == 500
        assert json.loads(sink.body)["error"]["code"] == "internal_error"
        (row,) = world.rows()
        assert (row.last, row.client_status, row.cost) == (True, 500, 0)
        assert "gen-1 failed inside the gateway" in caplog.text


async def test_a_fault_of_ours_in_a_stream_is_a_loud_end(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def script(request: Received, out: Out) -> None:
        world.proxy.unix = broken_clock
        await streams(chunks("Hello"))(request, out)

    def broken_clock() -> float:
        world.proxy.unix = time.time  # it fails once, when the attempt is booked
        raise RuntimeError("no time")

    async with ScriptedHost(script) as host:
        world = make(host)
        sink = await world.ask(stream=True)
        assert sink.status == 200
        assert b"Hello" in sink.body
        assert b"[DONE]" not in sink.body
        assert b"internal_error" in sink.body
        assert [row.last for row in world.rows()] == [True]
        assert "failed inside the gateway" in caplog.text


async def test_a_fault_of_ours_after_the_cache_was_asked_is_told(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()
    world.proxy.fleets = {}
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
        await until(lambda: world.fleet.states["a"].breaker.state(world.proxy.clock()) is State.OPEN)


@pytest.mark.parametrize(("status", "opened"), [(401, "ab"), (402, "ab"), (403, "a"), (404, "a")])
async def test_what_concerns_the_credential_concerns_all_its_endpoints(make: Make, status: int, opened: str) -> None:
    async with ScriptedHost(answers(status, {"error": {"message": "no"}})) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        assert (await world.ask()).status == 200
        states = world.fleet.states
        await until(lambda: states["a"].breaker.state(world.proxy.clock()) is State.OPEN)
        found = [name for name, state in states.items() if state.breaker.state(world.proxy.clock()) is State.OPEN]
        assert found == list(opened)


async def test_when_the_gateway_stops_its_clients_are_told(make: Make) -> None:
    async with ScriptedHost(stalls) as host:
        world = make(host)
        sink = world.send()
        await host.until(lambda: len(host.requests) == 1)
        world.transport.close()
        await sink.ended.wait()
        assert sink.status == 502


def left() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, Serving | Attempt | Reader)]


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
