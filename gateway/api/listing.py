"""OpenRouter's listings: models, endpoints with their measurements, providers.

settings, endpoints in use ──┐
measured by this worker ─────┼──> GET /api/v1/models, .../endpoints, /api/v1/providers, ...
uptime in the store ─────────┘
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import openrouter_models as described
from gateway.api.listing_types import (
    MOST_ROWS,
    ListedEndpoint,
    ListedModel,
    ModelCount,
    ModelEndpoints,
    ModelPage,
    PageLinks,
)
from gateway.api.sourced_capabilities import sourced_capabilities
from gateway.errors import BadRequest
from gateway.intake.auth import Keys
from gateway.intake.field_types import Data, DataList, json_answer
from gateway.intake.model_and_policy import Names
from gateway.route.endpoint_state import EndpointState
from gateway.route.fleet import Fleet
from gateway.telemetry.archive import Archive, Uptime
from gateway.telemetry.series import Series
from gateway.types import Model
from gateway.types.capability_claims import CapabilityClaims, ProbedCapability
from gateway.types.endpoint import Capability

LONGEST_NUMBER = 9  # digits
FRESH = 5.0  # seconds that uptimes are cached
Probed = Mapping[str, Mapping[Capability, ProbedCapability]]  # by endpoint id
_log = logging.getLogger(__name__)


class Listing:
    """One worker's lists. Every response is `{"data": ...}`. `claims` and `probed`: what litellm's cost map
    and probes say about the capabilities of a model's endpoints."""

    def __init__(
        self,
        models: tuple[Model, ...],
        fleets: Mapping[str, Fleet],
        keys: Keys,
        archive: Archive,
        claims: Callable[[Model], Awaitable[CapabilityClaims]],
        probed: Callable[[Model], Awaitable[Probed]],
    ) -> None:
        self._models = models
        self._fleets = fleets
        self._keys = keys
        self._names = Names(models)
        self._archive = archive
        self._claims = claims
        self._probed = probed
        self._uptimes: dict[tuple[str, str], Uptime] = {}
        self._fetched_at = -inf

    def routes(self) -> list[Route]:
        get = ["GET"]
        return [
            Route("/api/v1/models", self._list, methods=get),
            Route("/api/v1/models/count", self._count, methods=get),
            Route("/api/v1/model/{author}/{slug}", self._one, methods=get),
            Route("/api/v1/models/{author}/{slug}/endpoints", self._endpoints, methods=get),
            Route("/api/v1/endpoints/zdr", self._without_retention, methods=get),
            Route("/api/v1/providers", self._providers, methods=get),
        ]

    async def _list(self, request: Request) -> Response:
        self._keys.caller(request)
        found = self._matching(request)
        offset, limit = _count(request, "offset", 0, 0), _count(request, "limit", MOST_ROWS, 1)
        more = offset + limit < len(found)
        following = str(request.url.include_query_params(offset=offset + limit)) if more else None
        data = [self._described(model) for model in found[offset : offset + limit]]
        return json_answer(ModelPage(data, len(found), PageLinks(following)))

    async def _count(self, request: Request) -> Response:
        self._keys.caller(request)
        return json_answer(Data(ModelCount(len(self._models))))

    async def _one(self, request: Request) -> Response:
        return json_answer(Data(self._described(self._named(request))))

    async def _endpoints(self, request: Request) -> Response:
        model = self._named(request)
        architecture = described.architecture(model)
        listed = ModelEndpoints(model.id, model.name, model.created, architecture, await self._of(model))
        return json_answer(Data(listed))

    async def _without_retention(self, request: Request) -> Response:
        self._keys.caller(request)
        return json_answer(DataList([one for model in self._models for one in await self._of(model, zdr=True)]))

    async def _providers(self, request: Request) -> Response:
        self._keys.caller(request)
        by_slug = {state.endpoint.provider: state.endpoint for state in self._states()}
        return json_answer(DataList([described.described_provider(one) for _, one in sorted(by_slug.items())]))

    def _named(self, request: Request) -> Model:
        """The model of the path. Raises Unauthorized, NotFound."""
        self._keys.caller(request)
        return self._names.model("{author}/{slug}".format(**request.path_params)).model

    def _matching(self, request: Request) -> list[Model]:
        text = request.query_params.get("q", "").lower()
        wanted = {name for name in request.query_params.get("supported_parameters", "").split(",") if name}
        named = (model for model in self._models if any(text in name.lower() for name in (model.id, model.name)))
        return [model for model in named if wanted.issubset(self._described(model).supported_parameters)]

    def _described(self, model: Model) -> ListedModel:
        used = [state.endpoint for state in self._fleets[model.id].states.values()]
        return described.described_model(model, used)

    def _states(self) -> list[EndpointState]:
        return [state for fleet in self._fleets.values() for state in fleet.states.values()]

    async def _of(self, model: Model, *, zdr: bool = False) -> list[ListedEndpoint]:
        """The endpoints of a model that are in use. With `zdr`, only those that declare zero data retention."""
        await self._fetch_uptimes()
        claims, probed = await self._claims(model), await self._probed(model)
        now = time.monotonic()
        fleet = self._fleets[model.id]
        fleet.refresh(now)
        return [
            described.described_endpoint(
                model,
                state,
                self._uptimes.get((model.id, name), Uptime()),
                sourced_capabilities(state.endpoint, claims, probed.get(name, {})),
                now,
            )
            for name, state in fleet.states.items()
            if not zdr or state.endpoint.data.zdr == "yes"
        ]

    async def _fetch_uptimes(self) -> None:
        """Fetches uptimes from the store, at most every `FRESH` seconds. While the store is down there are none."""
        now = time.monotonic()
        if now < self._fetched_at + FRESH:
            return
        self._fetched_at = now
        try:
            series = [Series(model, "endpoint", name) for model, fleet in self._fleets.items() for name in fleet.states]
            uptimes = await self._archive.uptimes(series, time.time())
            self._uptimes = {(one.model, one.name): uptime for one, uptime in zip(series, uptimes, strict=True)}
        except OSError as error:
            self._uptimes = {}
            _log.info("uptimes are unknown, because the store is down: %s", error)


def _count(request: Request, name: str, default: int, least: int) -> int:
    """A whole number in the query. Raises BadRequest."""
    text = request.query_params.get(name)
    if not text:
        return default
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else -1
    if not least <= number <= MOST_ROWS:
        raise BadRequest(f"`{name}` must be a whole number from {least} to {MOST_ROWS}", param=name)
    return number
