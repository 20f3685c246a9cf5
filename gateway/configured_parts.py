"""The parts of a worker that follow from its configuration. A reload makes new ones, which replace these as a whole.

    WorkerParts: store, ledger, connections ... ──┐
    Configuration ────────────────────────────────┼──> ConfiguredParts: fleets, runtime, routes ──> Frontend
    the ConfiguredParts before ── what was learned┘

They do not change when others replace them: exchanges under way end by the endpoints, keys and policies with which they
began.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from time import monotonic, time

from starlette.applications import Starlette
from starlette.routing import Route

from gateway.api.account import Account
from gateway.api.chat import DEEPSEEK_CHAT, Chat, Completions
from gateway.api.cors import Cors
from gateway.api.error_responses import ERROR_HANDLERS
from gateway.api.explain import Explain
from gateway.api.generation import Generations
from gateway.api.handler import with_error_responses
from gateway.api.listing import Listing
from gateway.api.messages import DEEPSEEK_MESSAGES, CountTokens, Messages
from gateway.api.models import ModelList
from gateway.api.openapi import Document
from gateway.api.response_headers import ResponseHeaders
from gateway.api.responses import Responses
from gateway.cache.reasoning_vault import ReasoningVault
from gateway.cache.response_cache import ResponseCache
from gateway.cache.stored_responses import StoredResponses
from gateway.config import Settings, usable
from gateway.configuration import Configuration
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.page.exchange_routes import ExchangeRoutes
from gateway.page.history import History
from gateway.page.limits_page import LimitsPage
from gateway.page.page import Page
from gateway.page.page_state import PageState
from gateway.page.verdicts import Verdicts
from gateway.prices.model_claims import ModelClaims
from gateway.prices.price_page import PricePage
from gateway.probe.probe_log import ProbeLog
from gateway.probe.probe_runner import ProbeRunner
from gateway.probe.probe_store import ProbeStore
from gateway.probe.prober import Prober
from gateway.probe.probes_page import ProbesPage
from gateway.proxy.proxy import Proxy
from gateway.proxy.runtime import Runtime
from gateway.route.fleet import Fleet
from gateway.server.admin_gate import AdminGate
from gateway.server.asgi import AsgiEndpoint
from gateway.server.frontend import Frontend
from gateway.server.host_check import Authority
from gateway.server.host_room import HostRoom
from gateway.server.middleware import Middleware
from gateway.server.request_gate import RequestGate
from gateway.surface.anthropic.claude import ClaudeNames
from gateway.surface.responses.earlier import KeptRoutes
from gateway.types import PICO, Endpoint, Model
from gateway.types.sink import Handler
from gateway.upstream.destinations import located
from gateway.upstream.redactor import Redactor
from gateway.upstream.transport.address import Destination
from gateway.upstream.transport.transport import Transport
from gateway.worker_parts import WorkerParts

Destinations = Mapping[str, Destination]  # by endpoint id


class ConfiguredParts:
    """Of one configuration. Needs the running loop."""

    fleets: dict[str, Fleet]
    runtime: Runtime
    kept: StoredResponses | None
    page_state: PageState

    def __init__(
        self,
        configuration: Configuration,
        parts: WorkerParts,
        destinations: Destinations,
        before: "ConfiguredParts | None" = None,
    ) -> None:
        """`destinations` as `destinations_of` returns them; `before` are those that it replaces, with what they have
        learned."""
        self.configuration = configuration
        self.settings = settings = configuration.settings
        self.prices, self.policies = configuration.prices, configuration.policies
        self.destinations = destinations
        self.replaced = False
        self._parts = parts
        self._needs_key = parts.key_book.requires(settings.keys, settings.keys_required)
        self.fleets = fleets_of(settings, before.fleets if before else {})
        self.runtime = self._runtime(before.runtime if before else None)
        self.keys = parts.keys
        self.serving = self._serving()
        self.kept = self._stored_responses(before.kept if before else None)
        self.prober: Prober | None = None
        self._probe_results = ProbeStore(parts.store_url, round(settings.probes.usd_per_day * PICO))
        self._claims = ModelClaims()
        self._probes = self._probes_page()
        vault = ReasoningVault(parts.store) if settings.keep_reasoning else None
        self.proxy = Proxy(self.runtime, ResponseCache(parts.store), vault)
        self.authority = Authority(settings.host, settings.allowed_hosts, settings.cors, self._needs_key)
        self.gate = RequestGate(
            authority=self.authority,
            identify=self.keys.identify,
            load=parts.load,
            connections=parts.connections,
            max_body=settings.max_body,
            hosts=HostRoom(self.fleets.values(), self.policies, self.keys, monotonic, lambda: self.proxy.cached_at),
        )
        self.frontend = self._frontend()

    def __repr__(self) -> str:
        return f"<ConfiguredParts: {len(self.destinations)} endpoints{', replaced' if self.replaced else ''}>"

    def close(self) -> None:
        """Ends what is not needed by exchanges under way."""
        self.replaced = True  # open pages end their streams, and connect again
        self.page_state.close()
        self._probe_results.link.close()
        if self.prober is not None:
            self.prober.close()

    def _runtime(self, before: Runtime | None) -> Runtime:
        parts, settings = self._parts, self.settings
        to_operator = settings.is_local and not self._needs_key
        redactor = Redactor(settings.secrets.values(), to_operator=to_operator)
        if before is not None:
            return replace(before, fleets=self.fleets, destinations=self.destinations, redactor=redactor)
        return Runtime(
            fleets=self.fleets,
            destinations=self.destinations,
            redactor=redactor,
            wheel=parts.wheel,
            outcomes=parts.outcomes,
            under_way=parts.under_way,
            clock=monotonic,
            wall_clock=time,
            rng=Random().random,
            limiter=parts.limiter,
            sent=parts.sent,
            trace_headers=parts.tracing.headers if parts.tracing else None,
        )

    def _serving(self) -> Serving:
        settings = self.settings
        return Serving(
            self.keys,
            self.policies,
            self.fleets,
            settings.default_policy,
            settings.rules,
            settings.max_body,
            traces=self._parts.tracing is not None,
            salt=settings.salt,
        )

    def _stored_responses(self, before: StoredResponses | None) -> StoredResponses | None:
        if not self.settings.keep_responses:
            return None
        return before or StoredResponses(self._parts.store, self._parts.store_url)

    def _frontend(self) -> Frontend:
        settings = self.settings
        hot, self.routes = self._routes()
        heading = ResponseHeaders(Cors(settings.cors))
        app = Starlette(routes=self.routes, exception_handlers=dict(ERROR_HANDLERS))
        app.router.redirect_slashes = False
        wrapped = Middleware(app, self.authority, AdminGate(settings.admin), heading, heading.cors.preflight)
        return Frontend(hot, self.gate, heading, wrapped)

    def _routes(self) -> tuple[dict[bytes, Handler], list[Route]]:
        """The hot routes, and all routes for Starlette."""
        settings, keys, parts = self.settings, self.keys, self._parts
        intake = Intake(self.serving, Names(settings.models))
        in_use = [model for model in settings.models if self.fleets[model.id].states]
        claude = ClaudeNames(settings.models, next(iter(in_use or settings.models), None), settings.claude)
        hot, cold = self._handlers(intake, claude)
        posted = {path: AsgiEndpoint(handler, replace(self.gate, hosts=None)) for path, handler in cold.items()}
        posted |= {path.decode(): AsgiEndpoint(handler, self.gate) for path, handler in hot.items()}
        hot |= {  # Claude Code's URLs
            path + b"?beta=true": handler for path, handler in hot.items() if path.endswith(b"/messages")
        }
        listed_for = Keys(()) if settings.public_lists else keys
        return hot, [
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posted.items()),
            *ModelList(settings.models, keys, claude).routes(),
            *Document(settings.models).routes(),
            *Listing(
                settings.models, self.fleets, listed_for, parts.archive, self._claims.of, self._probes.probed
            ).routes(),
            *KeptRoutes(self.kept, keys).routes(),
            *Generations(settings.models, parts.ledger_folder, parts.archive, keys).routes(),
            *Account(settings.models, parts.archive, keys, parts.limit_view).routes(),
            *parts.routes,
            *self._page(),
        ]

    def _handlers(self, intake: Intake, claude: ClaudeNames) -> tuple[dict[bytes, Handler], dict[str, Handler]]:
        """The handlers of hot routes and of the other POST routes, by path."""
        proxy = self.proxy
        hot: dict[bytes, Handler] = {}
        cold: dict[str, Handler] = {"/v1/explain": with_error_responses(Explain(proxy, intake))}
        for start, own in (("/v1", intake), ("/api/v1", intake.of("openrouter"))):
            hot[f"{start}/chat/completions".encode()] = with_error_responses(Chat(proxy, own), own.surface)
            hot[f"{start}/completions".encode()] = with_error_responses(Completions(proxy, own), own.surface)
            hot[f"{start}/responses".encode()] = with_error_responses(Responses(proxy, own, self.kept), own.surface)
            anthropic = own.of("openai", claude)  # Anthropic's format under both prefixes
            hot[f"{start}/messages".encode()] = Messages(proxy, anthropic)
            cold[f"{start}/messages/count_tokens"] = CountTokens(anthropic)
        hot[DEEPSEEK_MESSAGES.encode()] = hot[b"/v1/messages"]
        cold[f"{DEEPSEEK_MESSAGES}/count_tokens"] = cold["/v1/messages/count_tokens"]
        hot |= dict.fromkeys(map(str.encode, DEEPSEEK_CHAT), hot[b"/v1/chat/completions"])
        return hot, cold

    def _page(self) -> list[Route]:
        parts = self._parts
        history = History(lambda name: self.page_state.model(name), self.fleets, parts.archive)
        shown = self.settings, self.policies, self.fleets, parts.recent
        self.page_state = data = PageState(*shown, parts.feed, Verdicts(history.read), self._claims.of)
        data.problems = lambda: parts.health.config_problems
        exchanges = ExchangeRoutes(parts.feed, parts.ledger_folder, parts.archive)
        closed, view = self.settings.admin is not None, parts.limit_view
        limits = LimitsPage(self.settings.limits, lambda: parts.key_book.accepted, view, closed, monotonic)
        more = {
            "/page/prices.json": PricePage(self.prices).history,
            "/page/probes.json": self._probes.results,
            "/page/limits.json": limits.shown,
        }
        page = Page(data, exchanges, self._has_ended, more)
        return [*page.routes(), history.route()]

    def _has_ended(self) -> bool:
        """Whether open pages end their streams: other parts replace these, or the worker stops, with or without a
        drain."""
        parts = self._parts
        return self.replaced or parts.health.draining or parts.connections.draining

    def _probes_page(self) -> ProbesPage:
        """The page of the probes' results, with the prober behind it where probes are configured."""
        settings, parts = self.settings.probes, self._parts
        budget = round(settings.usd_per_day * PICO)
        if budget:
            log = ProbeLog(parts.ledger, parts.metrics.record)
            runner = ProbeRunner(self.runtime, log, ResponseCache(parts.store))
            store = ProbeStore(parts.store_url, budget)
            self.prober = Prober(settings, self.settings.models, runner, store, parts.metrics.probes, Random())

        def find(name: str) -> Model:
            return self.page_state.model(name)

        return ProbesPage(find, self.fleets, self._probe_results, settings.usd_per_day, time)


def fleets_of(settings: Settings, before: Mapping[str, Fleet]) -> dict[str, Fleet]:
    """A fleet for each model, by its id. What `before` has learned of the model is kept."""
    fleets = {}
    for model in settings.models:
        endpoints, old, share = usable(model, settings.secrets), before.get(model.id), settings.retry_budget
        fleets[model.id] = old.reconfigured(endpoints, share) if old else Fleet(endpoints, settings.workers, share)
    return fleets


def destinations_of(
    settings: Settings, transport: Transport, before: ConfiguredParts | None = None
) -> dict[str, Destination]:
    """Where the endpoints in use are. Those of unchanged endpoints are kept. May import litellm, which takes seconds.
    Raises ConfigError."""
    endpoints = settings.in_use
    kept = _unchanged(endpoints, settings, before) if before else {}
    return kept | located((one for one in endpoints if one.id not in kept), settings.secrets, transport)


def _unchanged(endpoints: list[Endpoint], settings: Settings, before: ConfiguredParts) -> dict[str, Destination]:
    known = {one.id: replace(one, price=None) for one in before.settings.in_use}
    return {
        one.id: before.destinations[one.id]
        for one in endpoints
        if known.get(one.id) == replace(one, price=None)
        and before.settings.secrets.get(one.api_key_env or "") == settings.secrets.get(one.api_key_env or "")
    }
