"""The proxy without a server: a clock that jumps, timers that go off when told, a sink that writes down."""

import asyncio
import time
from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Any

import pytest

from gateway.cache.response_cache import ResponseCache
from gateway.proxy.outcomes import OutcomeLog
from gateway.proxy.proxy import Proxy
from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import Timer, TimerWheel
from gateway.proxy.under_way import UnderWay
from gateway.route.fleet import Fleet
from gateway.state.store import Store
from gateway.telemetry.ledger import Ledger, read
from gateway.telemetry.metrics import Metrics, prepare_folder
from gateway.types import Attempts, CacheMode, Endpoint, Pick, Policy, Price, Request, Row
from gateway.types.sink import Headers, Source
from gateway.upstream.redactor import Redactor
from gateway.upstream.transport.address import Address, Destination
from gateway.upstream.transport.transport import Transport
from tests.proxy.routed import until
from tests.support.gateway import NO_STORE
from tests.support.host import ScriptedHost, answers, completion

MODEL = "deepseek/deepseek-v3.2"
GOOD = answers(200, completion("Hello"))
BAD = answers(500, {})
POLICY = Policy("test", pick=Pick(how="best", explore=0.0), attempts=Attempts(retries=0))


class Written:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.ended = asyncio.Event()
        self.aborted = False
        self.gone = False  # whether the client has left
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

    def abort(self) -> None:
        self.aborted = True
        self.end()

    def moves_on(self) -> bool:
        return False

    def attach(self, source: Source) -> None:
        self.source = source
        if self.gone:
            source.gone()
            self.ended.set()


class LateWheel(TimerWheel):
    """A wheel whose timers go off when the test says so."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.timers: list[Timer] = []

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(call, {}))
        return self.timers[-1]

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            timer.fire()


class World:
    """One proxy over these hosts, `a`, `b`, ..., on a clock that can be put forward.

    A test may put another function in the place of `clock`, `wall_clock` or `rng`, and change `fleets` and
    `destinations`, at any time.
    """

    def __init__(self, folder: Path, *hosts: ScriptedHost) -> None:
        self.ahead = 0.0
        self.policy = POLICY
        price = Price(input=0.25, output=0.5)
        endpoints = [
            Endpoint(name, name, f"{host.url}/v1", "m", price=price, api_key_env="SHARED")
            for name, host in zip("abc", hosts, strict=False)
        ]
        self.fleet = Fleet(endpoints)
        self.transport = Transport()
        self.wheel = LateWheel()
        self.ledger = folder / "ledger"
        prepare_folder(folder / "metrics")
        self.clock: Callable[[], float] = lambda: time.monotonic() + self.ahead
        self.wall_clock: Callable[[], float] = time.time
        self.rng: Callable[[], float] = lambda: 0.5
        self.fleets = {MODEL: self.fleet}
        self.destinations: dict[str, Destination] = {one.id: Address(one, None, self.transport) for one in endpoints}
        self.runtime = Runtime(
            fleets=self.fleets,
            destinations=self.destinations,
            redactor=Redactor(),
            wheel=self.wheel,
            outcomes=OutcomeLog(Ledger(self.ledger), Metrics(folder / "metrics"), RecentExchanges()),
            under_way=UnderWay(),
            clock=lambda: self.clock(),
            wall_clock=lambda: self.wall_clock(),
            rng=lambda: self.rng(),
        )
        self.proxy = Proxy(self.runtime, ResponseCache(Store(NO_STORE)))
        self._asked = 0

    def rows(self) -> list[Row]:
        return list(read(self.ledger))

    def measured_speed(self) -> float | None:
        """Tokens per second of the one answer whose speed was learned; None where none was."""
        (state,) = self.fleet.states.values()
        now, recent = self.clock(), state.speeds.trend.recent
        if not recent.count(now):
            return None
        assert recent.count(now) == pytest.approx(1, abs=0.1)
        return exp(recent.sum(now) / recent.count(now))

    def send(self, stream: bool = False, cache: CacheMode = "default", **known: Any) -> Written:
        """`known` is what else is known of the request."""
        self._asked += 1
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        known = {"prompt_tokens": 5, **known}
        request = Request(f"gen-{self._asked}", body, MODEL, self.policy.name, stream=stream, cache=cache, **known)
        sink = Written()
        self.proxy.serve(request, self.policy, sink, self.clock())
        return sink

    async def ask(self, stream: bool = False, cache: CacheMode = "default") -> Written:
        sink = self.send(stream, cache)
        async with asyncio.timeout(60):
            await sink.ended.wait()
        return sink

    async def streaming(self) -> tuple[Written, Source]:
        """A streamed request whose first word has come: what its client has, and what holds its host back."""
        sink = self.send(stream=True)
        await until(lambda: b"Hello" in sink.body)
        assert sink.source is not None
        return sink, sink.source

    def is_at_rest(self) -> bool:
        """Whether nothing of any exchange is left."""
        used = sum(state.in_flight for state in self.fleet.states.values())
        return not self.runtime.under_way and used == 0


Make = Callable[..., World]
