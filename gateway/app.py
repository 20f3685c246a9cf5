"""One worker: the only place where all parts are wired together.

build(settings, state folder, store url) -> Starlette
    start: store, policy reload, flush of metrics and ledger, shipper, gossip   drain: no new work   stop: in reverse
"""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, time
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.account import Account
from gateway.api.chat import DEEPSEEK_CHAT, Chat, Completions
from gateway.api.cors import Cors
from gateway.api.explain import Explain
from gateway.api.generation import Generations
from gateway.api.handler import with_error_responses
from gateway.api.health_routes import Health
from gateway.api.key_admin import KeyAdmin
from gateway.api.listing import Listing
from gateway.api.messages import DEEPSEEK_MESSAGES, CountTokens, Messages
from gateway.api.models import VERSION, ModelList
from gateway.api.openapi import Document
from gateway.api.response_headers import ResponseHeaders
from gateway.api.responses import Responses
from gateway.audit import doubts
from gateway.cache.reasoning_vault import ReasoningVault
from gateway.cache.response_cache import ResponseCache
from gateway.cache.stored_responses import StoredResponses
from gateway.config import Key, Settings, usable
from gateway.errors import BadRequest, ClientError, NotFound
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.keys.key_book import KeyBook
from gateway.keys.key_desk import KeyDesk
from gateway.keys.key_file import KeyFile
from gateway.keys.key_store import KeyStore
from gateway.keys.limit_store import LimitStore
from gateway.keys.limit_view import LimitView
from gateway.keys.limiter import Limiter, limited
from gateway.page.exchange_feed import ExchangeFeed
from gateway.page.exchange_routes import ExchangeRoutes
from gateway.page.history import History
from gateway.page.page import Page
from gateway.page.page_state import PageState
from gateway.page.verdicts import Verdicts
from gateway.policy.policies import Policies
from gateway.prices.litellm_map import package_claims
from gateway.prices.price_list import PriceList
from gateway.prices.price_page import PricePage
from gateway.probe.probe_log import ProbeLog
from gateway.probe.probe_runner import ProbeRunner
from gateway.probe.probe_store import ProbeStore
from gateway.probe.prober import Prober
from gateway.probe.probes_page import ProbesPage
from gateway.proxy.killed_attempts import KilledAttempts
from gateway.proxy.outcomes import OutcomeLog
from gateway.proxy.proxy import Proxy
from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import TimerWheel
from gateway.proxy.under_way import UnderWay
from gateway.route.fleet import Fleet
from gateway.route.health import Breaker, State
from gateway.server.admin_gate import AdminGate
from gateway.server.admission import Admission, limits, memory_limit
from gateway.server.asgi import AsgiEndpoint
from gateway.server.connections import Connections, most_connections
from gateway.server.host_check import Authority
from gateway.server.middleware import Middleware
from gateway.server.protocol import HEADING, HOT
from gateway.server.request_gate import GATE, RequestGate
from gateway.state.background import Background
from gateway.state.conditions import Conditions
from gateway.state.folder import StateFolder
from gateway.state.gossip import Gossip
from gateway.state.link import POLL, repeat
from gateway.state.store import GET_WITHIN, Store
from gateway.surface.answer import internal_error, path_error_body
from gateway.surface.anthropic import errors as anthropic
from gateway.surface.anthropic.claude import ClaudeNames
from gateway.surface.responses.earlier import KeptRoutes
from gateway.telemetry.archive import Archive
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import CONTENT_TYPE, Metrics
from gateway.telemetry.sent_attempts import SentAttempts
from gateway.telemetry.shipper import Shipper
from gateway.telemetry.trace_recorder import TraceRecorder
from gateway.telemetry.tracing import tracing
from gateway.types import PICO, Model
from gateway.types.sink import Handler
from gateway.upstream.destinations import located
from gateway.upstream.litellm_adapter import Adapted
from gateway.upstream.transport.address import Destination
from gateway.upstream.transport.transport import Transport
from gateway.upstream.transport.upstreams import Upstreams

FLUSH_EVERY = 0.25  # seconds
LAST_SHIPMENT = 5.0  # seconds at shutdown; ledger rows that are not shipped by then stay on disk for the next start
ALIKE = 0.75  # similarity, 0 to 1, from which a known path is suggested for an unknown one

_log = logging.getLogger("gateway")


class Worker:
    """All parts of one serving process."""

    def __init__(self, settings: Settings, folder: StateFolder, store_url: str, lookup: float = GET_WITHIN) -> None:
        self.prices = PriceList(replace(settings, state=folder.path))
        self.settings = settings = self.prices.priced
        by_rule = (rule.policy for rule in settings.rules)
        defaults = (settings.default_policy, *by_rule, *(key.policy for key in settings.keys if key.policy))
        defaults += tuple(settings.claude.values())
        self.policies = Policies(settings.policies, defaults, partial(doubts, settings))
        self.fleets = {model.id: self._fleet(model) for model in settings.models}
        self.store = Store(store_url, budget=lookup)
        self.metrics = Metrics(folder.metrics)
        self.recent = RecentExchanges()
        self.feed = ExchangeFeed(self.recent, store_url)
        self.conditions = Conditions(self.metrics.part_failure)
        self.ledger = Ledger(folder.ledger, self.metrics.ledger_error, self.conditions)
        self.sent = SentAttempts(folder.ledger, self.ledger, self.conditions)
        self.killed = KilledAttempts(folder.ledger, self.ledger, self.metrics.record, self.fleets)
        self.shipper = Shipper(folder.ledger, store_url, self.metrics.store_up, self.conditions)
        self.ledger_folder = folder.ledger
        self.archive = Archive(store_url)
        self.kept = StoredResponses(self.store, store_url) if settings.keep_responses else None
        self.gossip = Gossip(self.fleets, store_url, monotonic)
        self.limiter = Limiter(
            settings.limits, LimitStore(store_url), settings.workers, time, self.metrics.limits.refused
        )
        self.limit_view = LimitView(self.limiter, LimitStore(store_url))
        self.admin_store = KeyStore(store_url)
        self.key_desk = KeyDesk(self.admin_store, {key.tenant for key in settings.keys})
        self.keys = Keys(())
        book = KeyStore(store_url), KeyFile(folder.path), self._use_keys, self.conditions
        self.key_book = KeyBook(settings.keys, settings.keys_required, *book)
        self.recorder = TraceRecorder(settings.record, self.conditions) if settings.record else None
        in_use = [state.endpoint for fleet in self.fleets.values() for state in fleet.states.values()]
        self.tracing = tracing(os.environ, in_use)
        self.transport = Transport()
        self.under_way = UnderWay()
        self.health = Health(self.fleets, self.store, self.policies, self.conditions)
        self._destinations = self._located()
        self.authority = Authority(settings.host, settings.allowed_hosts, settings.cors, self.key_book.required)
        self.hot: dict[bytes, Handler] = {}  # hot routes, which the HTTP connection serves directly
        self._background = Background(self.conditions)
        self._store_url = store_url
        self.prober: Prober | None = None
        self._avoided: set[str] = set()  # endpoints whose breaker was logged as open

    def routes(self, loop: asyncio.AbstractEventLoop) -> list[Route]:
        """All routes. Needs the running loop for its clock and timers."""
        settings = self.settings
        vault = ReasoningVault(self.store) if settings.keep_reasoning else None
        runtime = self._runtime(loop)
        self._proxy = proxy = Proxy(runtime, ResponseCache(self.store), vault)
        keys = self.keys
        self.gate = gate = self._gate(loop, keys)
        intake = Intake(self._serving(keys), Names(settings.models))
        in_use = [model for model in settings.models if self.fleets[model.id].states]
        claude = ClaudeNames(settings.models, next(iter(in_use or settings.models), None), settings.claude)
        cold: dict[str, Handler] = {"/v1/explain": with_error_responses(Explain(proxy, intake))}
        for start, own in (("/v1", intake), ("/api/v1", intake.of("openrouter"))):
            self.hot[f"{start}/chat/completions".encode()] = with_error_responses(Chat(proxy, own), own.surface)
            self.hot[f"{start}/completions".encode()] = with_error_responses(Completions(proxy, own), own.surface)
            self.hot[f"{start}/responses".encode()] = with_error_responses(
                Responses(proxy, own, self.kept), own.surface
            )
            anthropic = own.of("openai", claude)  # Anthropic's format under both prefixes
            self.hot[f"{start}/messages".encode()] = Messages(proxy, anthropic)
            cold[f"{start}/messages/count_tokens"] = CountTokens(anthropic)
        self.hot[DEEPSEEK_MESSAGES.encode()] = self.hot[b"/v1/messages"]
        cold[f"{DEEPSEEK_MESSAGES}/count_tokens"] = cold["/v1/messages/count_tokens"]
        self.hot |= dict.fromkeys(map(str.encode, DEEPSEEK_CHAT), self.hot[b"/v1/chat/completions"])
        posted = cold | {path.decode(): handler for path, handler in self.hot.items()}
        self.hot |= {  # Claude Code's URLs
            path + b"?beta=true": handler for path, handler in self.hot.items() if path.endswith(b"/messages")
        }
        return [
            *(Route(path, AsgiEndpoint(handler, gate), methods=["POST"]) for path, handler in posted.items()),
            *ModelList(settings.models, keys, claude).routes(),
            *Document(settings.models).routes(),
            *Listing(settings.models, self.fleets, Keys(()) if settings.public_lists else keys, self.archive).routes(),
            *KeptRoutes(self.kept, keys).routes(),
            *Generations(settings.models, self.ledger_folder, self.archive, keys).routes(),
            *Account(settings.models, self.archive, keys, self.limit_view).routes(),
            *KeyAdmin(self.key_desk, self.archive, self.limit_view, self.key_book.follow).routes(),
            Route("/health", self.health.live, methods=["GET"]),
            Route("/health/live", self.health.live, methods=["GET"]),
            Route("/health/ready", self.health.ready, methods=["GET"]),
            Route("/metrics", self._exposition, methods=["GET"]),
            *self._page(gate, runtime),
        ]

    def _fleet(self, model: Model) -> Fleet:
        settings = self.settings
        return Fleet(usable(model, settings.secrets), settings.workers, settings.retry_budget)

    def _runtime(self, loop: asyncio.AbstractEventLoop) -> Runtime:
        settings = self.settings
        upstreams = Upstreams(
            self._destinations,
            self.transport,
            settings.secrets.values(),
            to_operator=settings.is_local and not self.key_book.required,
            headers=self.tracing.headers if self.tracing else None,
        )
        return Runtime(
            fleets=self.fleets,
            upstreams=upstreams,
            wheel=TimerWheel(loop),
            outcomes=OutcomeLog(self.ledger, self.metrics, self.recent, self.recorder, self.tracing),
            under_way=self.under_way,
            clock=monotonic,
            wall_clock=time,
            rng=Random().random,
            limiter=self.limiter,
            sent=self.sent,
        )

    def _serving(self, keys: Keys) -> Serving:
        settings = self.settings
        return Serving(
            keys,
            self.policies,
            self.fleets,
            settings.default_policy,
            settings.rules,
            settings.max_body,
            traces=self.tracing is not None,
            salt=settings.salt,
        )

    def _page(self, gate: RequestGate, runtime: Runtime) -> list[Route]:
        history = History(lambda name: self.page_state.model(name), self.fleets, self.archive)
        parts = self.settings, self.policies, self.fleets, self.recent
        self.page_state = data = PageState(*parts, self.feed, Verdicts(history.read), package_claims)
        exchanges = ExchangeRoutes(self.feed, self.ledger_folder, self.archive)
        probes = self._probes(runtime, data.model)
        more = {"/page/prices.json": PricePage(self.prices).history, "/page/probes.json": probes.results}
        page = Page(data, exchanges, lambda: gate.connections.draining or self.health.draining, more)
        return [*page.routes(), history.route()]

    def _probes(self, runtime: Runtime, find: Callable[[str], Model]) -> ProbesPage:
        """The page of their results, with the prober behind it where probes are configured."""
        settings, budget = self.settings.probes, round(self.settings.probes.usd_per_day * PICO)
        if budget:
            runner = ProbeRunner(runtime, ProbeLog(self.ledger, self.metrics.record), ResponseCache(self.store))
            store = ProbeStore(self._store_url, budget)
            self.prober = Prober(settings, self.settings.models, runner, store, self.metrics.probes, Random())
        self._probe_results = ProbeStore(self._store_url, budget)
        return ProbesPage(find, self.fleets, self._probe_results, settings.usd_per_day, time)

    def _gate(self, loop: asyncio.AbstractEventLoop, keys: Keys) -> RequestGate:
        settings = self.settings
        return RequestGate(
            authority=self.authority,
            identify=keys.identify,
            load=Admission(*limits(memory_limit(), settings.workers, settings.max_in_flight), self.metrics.shed),
            connections=Connections(most_connections(), loop.time),
            max_body=settings.max_body,
        )

    async def start(self) -> None:
        for destination in self._destinations.values():
            if isinstance(destination, Adapted):
                await destination.warm_up()
        self.store.start()
        for model, fleet in self.fleets.items():
            self.metrics.prepare(model, fleet.states, self.settings.default_policy, self.policies.current)
        self._show_prices()
        keep = self._background.keep
        keep("policies", partial(self.policies.watch, self.metrics.policy_reload, self.conditions))
        keep("flush", self._flush)
        keep("shipper", self.shipper.run)
        keep("killed attempts", self.killed.run)
        keep("gossip", self.gossip.run)
        keep("keys", self.key_book.run)
        keep("limits", self.limiter.run)
        keep("prices", partial(self.prices.watch, self._reprice, self.conditions))
        if self.settings.price_sync != "off":
            keep("price sync", self.prices.sync_weekly)
        keep("connections", self.gate.connections.watch)
        keep("page", partial(repeat, self.page_state.tick, POLL))
        if self.recorder is not None:
            keep("recording", self.recorder.run)
        if self.prober is not None:
            keep("probes", self.prober.run)
        gc.collect()
        gc.freeze()  # objects that exist now live as long as the worker: collections can skip them

    async def stop(self) -> None:
        self.health.draining = True
        await self._background.stop()
        self._proxy.close()  # before the connections to hosts, else exchanges still running would fail over
        self.transport.close()
        await self.limiter.close()
        self._count()
        self._publish()
        self.ledger.check()  # restores what was deleted just now
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
        self.page_state.close()
        self.gossip.close()
        self.key_book.close()
        self.admin_store.close()
        self.limit_view.close()
        self.archive.close()
        self._probe_results.link.close()
        if self.prober is not None:
            self.prober.close()
        if self.kept is not None:
            self.kept.close()
        await self.store.close()

    def _use_keys(self, keys: list[Key], required: bool) -> None:
        """From now on these are the clients' keys, with their limits."""
        self.keys.replace(keys, required)
        self.limiter.replace(limited(keys), self.settings.limits)

    def _located(self) -> dict[str, Destination]:
        fleets = self.fleets.values()
        return located((state.endpoint for fleet in fleets for state in fleet.states.values()), self.settings.secrets)

    def _reprice(self) -> None:
        """The prices changed: plans from now on use the new ones, requests under way keep theirs."""
        for model in self.prices.priced.models:
            prices = {endpoint.id: endpoint.price for endpoint in model.endpoints if endpoint.price}
            used = [state.endpoint for state in self.fleets[model.id].states.values()]
            now = [replace(endpoint, price=prices.get(endpoint.id, endpoint.price)) for endpoint in used]
            for before, after in zip(used, now, strict=True):
                if before != after:
                    self.metrics.prices.changed(after.id)
            self.fleets[model.id].configure(now)
        self._show_prices()

    def _show_prices(self) -> None:
        shown = self.metrics.prices
        shown.synced(self.prices.book.synced or 0.0)
        for fleet in self.fleets.values():
            for name, state in fleet.states.items():
                flags = self.prices.history(state.endpoint).flags
                shown.endpoint(name, state.price, {flag.kind for flag in flags})

    async def _flush(self) -> None:
        """Publishes metrics and ledger rows regularly, so that any worker can answer the next scrape."""
        while True:
            now = monotonic()
            for fleet in self.fleets.values():
                for name, state in fleet.states.items():
                    self.metrics.endpoint_state(name, state.breaker.state(now).value)
                    self._log_breaker(name, state.breaker, now)
            self._count()
            self.ledger.check()
            self.sent.tick(time())
            self._publish()
            await asyncio.sleep(FLUSH_EVERY)

    def _count(self) -> None:
        self.metrics.in_flight(len(self.under_way))
        for model, fleet in self.fleets.items():
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


def build(settings: Settings, state: Path, store_url: str, lookup: float = GET_WITHIN) -> Starlette:
    """The ASGI app of one worker. `lookup` is the timeout of response cache lookups, in seconds.

    Raises ConfigError if it cannot serve.
    """
    worker = Worker(settings, StateFolder(state), store_url, lookup)
    heading = ResponseHeaders(Cors(settings.cors))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        app.router.routes.extend(worker.routes(asyncio.get_running_loop()))
        await worker.start()
        yield {HOT: worker.hot, GATE: worker.gate, HEADING: heading}
        await worker.stop()

    handlers = {ClientError: _client_error, HTTPException: _http_error, Exception: _internal_error}
    app = Starlette(lifespan=lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    inner, admin = app.build_middleware_stack(), AdminGate(settings.admin)
    app.middleware_stack = Middleware(inner, worker.authority, admin, heading, heading.cors.preflight)
    return app


async def _client_error(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, ClientError)
    return _error_response(request, error, {name.decode(): value.decode() for name, value in error.headers()})


async def _http_error(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = NotFound if error.status_code == 404 else BadRequest
    hint = _nearest_path(request) if error.status_code == 404 else ""
    translated = kind(f"{request.method} {request.url.path}: {error.detail}{hint}", status=error.status_code)
    return _error_response(request, translated, error.headers)


def _nearest_path(request: HttpRequest) -> str:
    """The hint for an unknown path: the most similar known path, or nothing."""
    known = [route.path for route in request.app.routes if isinstance(route, Route) and "{" not in route.path]
    close = get_close_matches(request.url.path[:100], known, n=1, cutoff=ALIKE)
    return f"; did you mean {close[0]}?" if close else ""


async def _internal_error(request: HttpRequest, _: Exception) -> Response:
    return _error_response(request, internal_error())  # the server logs the exception


def _error_response(request: HttpRequest, error: ClientError, headers: Mapping[str, str] | None = None) -> Response:
    body = path_error_body(error, request.url.path, to_anthropic=VERSION in request.headers)
    own = {name.decode(): value.decode() for name, value in anthropic.head_of(error.status, body)}
    return JSONResponse(body, error.status, {**own, **(headers or {})})
