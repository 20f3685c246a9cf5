"""One worker: the only place where its parts are started, replaced and stopped.

build(configuration, state folder, store url) -> Starlette
    start: store, policy reload, flush of metrics and ledger, shipper, gossip   drain: no new work   stop: in reverse

    adopt(Configuration) ──> ConfiguredParts ──> LiveFrontend, gossip, health, background tasks: all in one step
    adopt(RejectedConfig) ──> /health/ready, metrics, the page: the configuration in force stays
"""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.api.health_routes import Health
from gateway.api.key_admin import KeyAdmin
from gateway.config import DrainSettings, Key
from gateway.configuration import Configuration, RejectedConfig, choices_of
from gateway.configured_parts import ConfiguredParts, destinations_of
from gateway.intake.auth import Keys
from gateway.keys.key_book import KeyBook
from gateway.keys.key_desk import KeyDesk
from gateway.keys.key_file import KeyFile
from gateway.keys.key_store import KeyStore
from gateway.keys.limit_store import LimitStore
from gateway.keys.limit_view import LimitView
from gateway.keys.limiter import Limiter, limited
from gateway.page.exchange_feed import ExchangeFeed
from gateway.proxy.killed_attempts import KilledAttempts
from gateway.proxy.outcomes import OutcomeLog
from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.proxy.timer_wheel import TimerWheel
from gateway.proxy.under_way import UnderWay
from gateway.route.breaker import Breaker, State
from gateway.server.admission import Admission, limits, memory_limit
from gateway.server.connections import Connections, most_connections
from gateway.server.crash_loop import CrashLoop
from gateway.server.frontend import FRONTEND, LiveFrontend, closing, refusing
from gateway.server.loop_lag import LoopLag
from gateway.server.worker_server import WORKER
from gateway.state.background import Background
from gateway.state.conditions import Conditions
from gateway.state.folder import StateFolder
from gateway.state.gossip import Gossip
from gateway.state.link import POLL, repeat
from gateway.state.store import GET_WITHIN, Store
from gateway.telemetry.archive import Archive
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import CONTENT_TYPE, Metrics
from gateway.telemetry.sent_attempts import SentAttempts
from gateway.telemetry.shipper import Shipper
from gateway.telemetry.trace_recorder import TraceRecorder
from gateway.telemetry.tracing import addresses, tracing
from gateway.upstream.litellm_adapter import Adapted
from gateway.upstream.transport.address import Destination
from gateway.upstream.transport.transport import Transport
from gateway.worker_parts import WorkerParts

FLUSH_EVERY = 0.25  # seconds
YOUNG = 10_000  # new objects between two garbage collections: requests leave few cycles behind
LAST_SHIPMENT = 5.0  # seconds at shutdown; ledger rows that are not shipped by then stay on disk for the next start

_log = logging.getLogger("gateway")


class Worker:
    """All parts of one serving process."""

    parts: WorkerParts
    configured: ConfiguredParts
    live: LiveFrontend
    lag: LoopLag

    def __init__(
        self, configuration: Configuration, folder: StateFolder, store_url: str, lookup: float = GET_WITHIN
    ) -> None:
        settings = configuration.settings
        self._first = configuration
        self._store_url = store_url
        self.store = Store(store_url, budget=lookup)
        self.metrics = Metrics(folder.metrics)
        self.recent = RecentExchanges()
        self.feed = ExchangeFeed(self.recent, store_url)
        self.conditions = Conditions(self.metrics.part_failure)
        self.ledger = Ledger(folder.ledger, self.metrics.ledger_error, self.conditions)
        self.sent = SentAttempts(folder.ledger, self.ledger, self.conditions)
        self.killed = KilledAttempts(folder.ledger, self.ledger, self.metrics.record)
        self.shipper = Shipper(folder.ledger, store_url, self.metrics.store_up, self.conditions)
        self.ledger_folder = folder.ledger
        self.archive = Archive(store_url)
        self.gossip = Gossip({}, store_url, monotonic)
        self.limiter = Limiter(
            settings.limits, LimitStore(store_url), settings.workers, time, self.metrics.limits.refused
        )
        self._limits = settings.limits
        self.limit_view = LimitView(self.limiter, LimitStore(store_url))
        self.admin_store = KeyStore(store_url)
        self.key_desk = KeyDesk(self.admin_store)
        self.keys = Keys((), refused=self.metrics.unauthorized)
        book = KeyStore(store_url), KeyFile(folder.path), self._use_keys, self.conditions
        self.key_book = KeyBook(settings.keys, settings.keys_required, *book)
        self.recorder = TraceRecorder(settings.record, self.conditions) if settings.record else None
        self.tracing = tracing(os.environ)
        self.transport = Transport()
        self.health = Health(self.store, self.conditions)
        self._destinations = destinations_of(settings, self.transport)
        self._background = Background(self.conditions)
        self._avoided: set[str] = set()  # endpoints whose breaker was logged as open

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes all parts. They need the running loop for its clock and timers."""
        self.parts = WorkerParts(
            store=self.store,
            store_url=self._store_url,
            ledger=self.ledger,
            ledger_folder=self.ledger_folder,
            archive=self.archive,
            metrics=self.metrics,
            recent=self.recent,
            feed=self.feed,
            outcomes=OutcomeLog(self.ledger, self.metrics, self.recent, self.recorder, self.tracing),
            tracing=self.tracing,
            transport=self.transport,
            limiter=self.limiter,
            limit_view=self.limit_view,
            sent=self.sent,
            keys=self.keys,
            key_book=self.key_book,
            under_way=UnderWay(),
            wheel=TimerWheel(loop),
            load=Admission(*_limits(self._first), self.metrics.shed),
            connections=Connections(most_connections(), loop.time),
            health=self.health,
            routes=(
                *self.health.routes(),
                Route("/metrics", self._exposition, methods=["GET"]),
                *KeyAdmin(self.key_desk, self.archive, self.limit_view, self.key_book.follow).routes(),
            ),
        )
        self.lag = LoopLag(self.parts.load, loop.time)
        configured = ConfiguredParts(self._first, self.parts, self._destinations)
        self.live = LiveFrontend(configured.frontend)
        self._take(configured)

    async def start(self) -> None:
        """Warms up the adapters, and starts the background tasks."""
        await _warm_up(self._destinations)
        self.store.start()
        self._follow()
        keep = self._background.keep
        keep("flush", self._flush)
        keep("shipper", self.shipper.run)
        keep("killed attempts", self.killed.run)
        keep("gossip", self.gossip.run)
        keep("keys", self.key_book.run)
        keep("limits", self.limiter.run)
        keep("connections", self.parts.connections.watch)
        keep("loop lag", self.lag.watch)
        keep("page", partial(repeat, self._tick, POLL))
        if self.recorder is not None:
            keep("recording", self.recorder.run)
        tune_garbage_collection()

    async def adopt(self, news: Configuration | RejectedConfig | CrashLoop) -> None:
        """Replaces the configuration as a whole by one that was read and checked. Of a rejected one, shows the reasons;
        also shows that other workers crash in a loop."""
        if isinstance(news, CrashLoop):
            if news.reason:
                self.conditions.failed("workers", RuntimeError(news.reason))
            else:
                self.conditions.works("workers")
            return
        if self.health.draining:
            return
        problems: tuple[str, ...] = ()
        if isinstance(news, RejectedConfig):
            problems = news.problems
        else:
            try:
                await self._replace(news)
            except Exception as error:  # a fault of ours: the configuration in force stays
                _log.exception("the new configuration is not in force")
                problems = (f"internal error: {error}",)
        self.health.config_problems = problems
        self.metrics.config_reloads.reloaded(ok=not problems)

    async def _replace(self, configuration: Configuration) -> None:
        before = self.configured
        destinations = await asyncio.to_thread(destinations_of, configuration.settings, self.transport, before)
        await _warm_up({name: one for name, one in destinations.items() if before.destinations.get(name) is not one})
        if self.health.draining:  # since then: a new frontend would serve requests that have to go elsewhere
            return
        self._take(ConfiguredParts(configuration, self.parts, destinations, before))
        self._follow()
        before.close()
        if before.kept is not None and self.configured.kept is None:
            before.kept.close()
        if before.policies.problems:
            self.metrics.policy_reloads.reloaded(ok=True)

    def _take(self, configured: ConfiguredParts) -> None:
        """Serves by these parts from now on."""
        self.configured = configured
        self.live.current = configured.frontend
        self.parts.load.limit(*_limits(configured.configuration))
        self.gossip.take(configured.fleets)
        self.killed.take(configured.fleets)
        settings = configured.settings
        self._limits = settings.limits
        self.key_book.replace(settings.keys, settings.keys_required)
        self.key_desk.take(
            {key.tenant for key in settings.keys}, lambda: choices_of(settings, configured.policies.current)
        )
        self.health.serving = configured.serving
        if self.tracing is not None:
            fleets = configured.fleets.values()
            self.tracing.take(addresses(state.endpoint for fleet in fleets for state in fleet.states.values()))

    def _follow(self) -> None:
        """Exposes the metrics of the configuration in force and watches its files. Replaces the previous one's
        tasks."""
        configured = self.configured
        settings, policies, prices = configured.settings, configured.policies, configured.prices
        for model, fleet in configured.fleets.items():
            self.metrics.prepare(model, fleet.states, settings.default_policy, policies.current)
        self._show_prices()
        keep, drop = self._background.keep, self._background.drop
        keep("policies", partial(policies.watch, self.metrics.policy_reloads.reloaded, self.conditions))
        keep("prices", partial(prices.watch, self._reprice, self.conditions))
        if settings.price_sync != "off":
            keep("price sync", prices.sync_weekly)
        else:
            drop("price sync")
        if configured.prober is not None:
            keep("probes", configured.prober.run)
        else:
            drop("probes")

    @property
    def drain_settings(self) -> DrainSettings:
        return self.configured.settings.drain

    def drain(self) -> None:
        """Reports not ready. Still serves requests, but closes each connection after its response."""
        self.health.draining = True
        self.live.current = closing(self.live.current)
        self.parts.connections.finish()

    def refuse(self) -> None:
        """Rejects all requests except health checks."""
        self.live.current = refusing(self.live.current)
        self.parts.connections.drain()

    def busy(self) -> int:
        """The number of client connections with a request."""
        return self.parts.connections.busy()

    async def stop(self) -> None:
        """Ends all exchanges, writes and ships what is pending, and closes everything."""
        self.health.draining = True
        await self._background.stop()
        self.configured.proxy.close()  # before the connections to hosts close, or running exchanges would fail over
        self.transport.close()
        await self.limiter.close()
        self._count()
        self._publish()
        self.ledger.check()  # restores a segment that was just deleted
        self.sent.tick(time())
        self.sent.close()
        self.ledger.close()
        if self.recorder is not None:
            await self.recorder.flush()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SHIPMENT):
                await self.shipper.ship()
        self.shipper.close()
        await self.feed.tick()
        self.feed.close()
        self.configured.close()
        self.gossip.close()
        self.key_book.close()
        self.admin_store.close()
        self.limit_view.close()
        self.archive.close()
        if self.configured.kept is not None:
            self.configured.kept.close()
        await self.store.close()

    async def _tick(self) -> bool:
        return await self.configured.page_state.tick()

    def _use_keys(self, keys: list[Key], required: bool) -> None:
        """From now on these are the clients' keys, with their limits."""
        self.keys.replace(keys, required)
        self.limiter.replace(limited(keys), self._limits)

    def _reprice(self) -> None:
        """The prices changed: plans from now on use the new ones, requests under way keep theirs."""
        configured = self.configured
        for model in configured.prices.priced.models:
            prices = {endpoint.id: endpoint.price for endpoint in model.endpoints if endpoint.price}
            used = [state.endpoint for state in configured.fleets[model.id].states.values()]
            now = [replace(endpoint, price=prices.get(endpoint.id, endpoint.price)) for endpoint in used]
            for before, after in zip(used, now, strict=True):
                if before != after:
                    self.metrics.prices.changed(after.id)
            configured.fleets[model.id].configure(now)
        self._show_prices()

    def _show_prices(self) -> None:
        shown, prices = self.metrics.prices, self.configured.prices
        shown.synced(prices.book.synced or 0.0)
        for fleet in self.configured.fleets.values():
            for name, state in fleet.states.items():
                flags = prices.history(state.endpoint).flags
                shown.endpoint(name, state.price, {flag.kind for flag in flags})

    async def _flush(self) -> None:
        """Publishes metrics and ledger rows regularly, so that any worker can answer the next scrape."""
        while True:
            now = monotonic()
            for fleet in self.configured.fleets.values():
                for name, state in fleet.states.items():
                    self.metrics.endpoint_state(name, state.breaker.state(now).value)
                    self._log_breaker(name, state.breaker, now)
            self._count()
            self.ledger.check()
            self.sent.tick(time())
            self._publish()
            await asyncio.sleep(FLUSH_EVERY)

    def _count(self) -> None:
        self.metrics.in_flight(len(self.parts.under_way))
        self.metrics.loop_lag(self.lag.take_worst())
        for model, fleet in self.configured.fleets.items():
            self.metrics.bounded(model, fleet.retry_budget.refused, fleet.slots.shed)
        self.metrics.store_commands(self.store.stats)
        self.metrics.limits.remaining(self.limiter.shares_left())
        self.metrics.flush()

    def _publish(self) -> None:
        with self.conditions.noted("metrics"):
            self.metrics.publish()

    def _log_breaker(self, endpoint: str, breaker: Breaker, now: float) -> None:
        """Logs once when a breaker has opened, and once when it has closed."""
        avoided = breaker.state(now) is not State.CLOSED
        if avoided == (endpoint in self._avoided):
            return
        if avoided:
            self._avoided.add(endpoint)
            _log.warning("%s: breaker opened, endpoint not in use: %s", endpoint, breaker.why)
        else:
            self._avoided.discard(endpoint)
            _log.info("%s: breaker closed, endpoint in use again", endpoint)

    async def _exposition(self, _: HttpRequest) -> Response:
        self._count()  # on this thread, which owns the rows
        text = await asyncio.to_thread(self.metrics.exposition)
        return Response(text, headers={"content-type": CONTENT_TYPE})


def build(configuration: Configuration, state: Path, store_url: str, lookup: float = GET_WITHIN) -> Starlette:
    """The ASGI app of one worker. `lookup` is the timeout of response cache lookups, in seconds.

    Raises ConfigError if it cannot serve.
    """
    worker = Worker(configuration, StateFolder(state), store_url, lookup)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        worker.begin(asyncio.get_running_loop())
        await worker.start()
        yield {FRONTEND: worker.live, WORKER: worker}
        await worker.stop()

    app = Starlette(lifespan=lifespan)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await worker.live.current.app(scope, receive, send)
        else:
            await app.router(scope, receive, send)

    app.middleware_stack = dispatch
    return app


def tune_garbage_collection() -> None:
    """Objects that exist now live as long as the worker: collections skip them, and there are fewer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


async def _warm_up(destinations: Mapping[str, Destination]) -> None:
    for destination in destinations.values():
        if isinstance(destination, Adapted):
            await destination.warm_up()


def _limits(configuration: Configuration) -> tuple[int, int]:
    settings = configuration.settings
    return limits(memory_limit(), settings.workers, settings.max_in_flight)
