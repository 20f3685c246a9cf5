"""`GET /api/v1/generation?id=`: the outcome of one request with all its attempts, available once its answer has ended.

ledger of this machine (all workers) ──not found──> the store's stream of all replicas' rows ──not found──> 404
"""

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.openrouter_models import provider_names
from gateway.errors import BadRequest, NotFound, StoreAway
from gateway.intake.auth import Keys
from gateway.intake.field_types import ApiObject, Count, Data, Moment, json_answer
from gateway.telemetry.archive import Archive
from gateway.telemetry.ledger_search import began, find
from gateway.types import PICO, Model, Row
from gateway.types.utc import utc_text_in_ms

AT_ONCE = 4  # concurrent searches per worker
CLIENT_LEFT = 499
Milliseconds = Annotated[int, Meta(ge=0, description="milliseconds")]
CostOfAttempts = Annotated[float, Meta(description="USD, all attempts")]


class GenerationQuery(TypedDict):
    id: str


class GenerationAttempt(ApiObject):
    endpoint_id: str
    id: str
    model_permaslug: str
    provider_name: str
    outcome: Annotated[str, Meta(description="the gateway's name for it")]
    latency: Milliseconds | None
    status: Annotated[Count | None, Meta(description="the host's HTTP status; null if none was received")]
    error: Annotated[str | None, Meta(description="the host's message")]
    is_byok: bool = False


class Generation(ApiObject):
    """The outcome of a request. Fields that the gateway does not know are null."""

    id: str
    model: str
    origin: Annotated[str, Meta(description="the app")]
    router: Annotated[str, Meta(description="the policy")]
    created_at: Moment
    total_cost: CostOfAttempts
    usage: CostOfAttempts
    upstream_inference_cost: CostOfAttempts
    streamed: bool
    cancelled: bool
    provider_name: str | None
    finish_reason: str | None
    http_referer: str | None
    latency: Milliseconds | None
    generation_time: Milliseconds | None
    tokens_prompt: Count
    tokens_completion: Count
    native_tokens_prompt: Count
    native_tokens_completion: Count
    native_tokens_reasoning: Count
    native_tokens_cached: Count
    provider_responses: Annotated[list[GenerationAttempt], Meta(description="every attempt, in order")]
    api_type: Literal["completions"] = "completions"
    data_region: str = "global"
    is_byok: bool = False
    upstream_id: None = None
    cache_discount: None = None
    app_id: None = None
    moderation_latency: None = None
    native_finish_reason: None = None
    service_tier: None = None
    native_tokens_completion_images: None = None
    num_media_prompt: None = None
    num_input_audio_prompt: None = None
    num_media_completion: None = None
    num_search_results: None = None
    num_fetches: None = None
    web_search_engine: None = None
    external_user: None = None
    preset_id: None = None
    user_agent: None = None
    workspace_id: None = None


class Generations:
    """Finds ledger rows by the timestamp in their exchange's id."""

    def __init__(self, models: tuple[Model, ...], ledger: Path, archive: Archive, keys: Keys) -> None:
        self._providers = provider_names(models)
        self._ledger = ledger
        self._archive = archive
        self._keys = keys
        self._searching = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        return [Route("/api/v1/generation", self._one, methods=["GET"])]

    async def _one(self, request: Request) -> Response:
        """A tenant sees only its own generations: any other is "not found"."""
        tenant = self._keys.caller(request).tenant
        name = request.query_params.get("id", "")
        if not name:
            raise BadRequest("`id` must be a generation id, as in the header x-generation-id", param="id")
        rows = await self._rows(name)
        if not rows or rows[0].tenant != tenant:
            raise NotFound(f"there is no generation `{name[:100]}`, or it has not ended", param="id")
        return json_answer(Data(generation(rows, self._providers)))

    async def _rows(self, name: str) -> list[Row]:
        if began(name) is None:
            return []
        async with self._searching:
            rows = await asyncio.to_thread(find, self._ledger, name)
        if rows:
            return rows
        try:
            return await self._archive.exchange(name)
        except OSError:
            raise StoreAway("this machine has no such generation, and those of other machines are unknown") from None


def generation(rows: list[Row], providers: Mapping[str, str]) -> Generation:
    """One generation from an exchange's rows, in the order of its attempts. `providers`: display names by endpoint."""
    closing = next(row for row in rows if row.last)
    cost = sum(row.cost for row in rows) / PICO
    return Generation(
        id=closing.exchange,
        total_cost=cost,
        usage=cost,
        upstream_inference_cost=cost,
        created_at=utc_text_in_ms(closing.at + closing.duration - closing.client_duration),
        model=closing.model,
        streamed=closing.stream,
        cancelled=closing.client_status == CLIENT_LEFT,
        provider_name=providers.get(closing.endpoint, closing.provider) if closing.outcome == "ok" else None,
        latency=_ms(closing.client_ttft if closing.stream else closing.ttft),
        generation_time=_ms(closing.client_duration),
        finish_reason=closing.finish_reason or None,
        tokens_prompt=closing.prompt_tokens,
        tokens_completion=closing.completion_tokens,
        native_tokens_prompt=closing.prompt_tokens,
        native_tokens_completion=closing.completion_tokens,
        native_tokens_reasoning=closing.reasoning_tokens,
        native_tokens_cached=closing.cached_tokens,
        origin=closing.app,
        router=closing.policy,
        provider_responses=[_attempt(row, providers) for row in rows if row.endpoint],
        http_referer=closing.app if closing.app.startswith(("http://", "https://")) else None,
    )


def _attempt(row: Row, providers: Mapping[str, str]) -> GenerationAttempt:
    return GenerationAttempt(
        endpoint_id=row.endpoint,
        id=row.id,
        latency=_ms(row.ttft if row.ttft is not None else row.duration),
        model_permaslug=row.model,
        provider_name=providers.get(row.endpoint, row.provider),
        status=row.status or None,
        outcome=row.outcome,
        error=row.error or None,
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else math.ceil(1_000 * seconds)
