"""`GET /api/v1/generation?id=`: what became of one request, all its attempts included, from the moment its answer ends.

ledger of this machine (any worker's) ──not there──> stream of all replicas' rows ──not there──> 404
"""

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.auth import Keys
from gateway.api.described import provider_names
from gateway.errors import BadRequest, NotFound, StoreAway
from gateway.telemetry.archive import Archive
from gateway.telemetry.search import began, find
from gateway.types import PICO, Model, Row

AT_ONCE = 4  # searches on this machine
CLIENT_LEFT = 499


class Generations:
    """Rows are found by the time in their exchange's id."""

    def __init__(self, models: tuple[Model, ...], ledger: Path, archive: Archive, keys: Keys) -> None:
        self._providers = provider_names(models)
        self._ledger = ledger
        self._archive = archive
        self._keys = keys
        self._searching = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        return [Route("/api/v1/generation", self._one, methods=["GET"])]

    async def _one(self, request: Request) -> Response:
        """Only who made a generation may see it; to others there is none."""
        tenant = self._keys.caller(request).tenant
        name = request.query_params.get("id", "")
        if not name:
            raise BadRequest("`id` must be a generation's, as in x-generation-id", param="id")
        rows = await self._rows(name)
        if not rows or rows[0].tenant != tenant:
            raise NotFound(f"there is no generation `{name[:100]}`, or it has not ended", param="id")
        return JSONResponse({"data": generation(rows, self._providers)})

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
            raise StoreAway("this machine has no such generation, and others cannot be asked") from None


def generation(rows: list[Row], providers: Mapping[str, str]) -> dict[str, Any]:
    """An exchange's rows, which are in the order of its attempts, as one generation; `providers` by endpoint."""
    closing = next(row for row in rows if row.last)
    cost = sum(row.cost for row in rows) / PICO
    return {
        "id": closing.exchange,
        "upstream_id": None,
        "total_cost": cost,
        "usage": cost,
        "upstream_inference_cost": cost,
        "cache_discount": None,
        "created_at": _iso(closing.at + closing.duration - closing.client_duration),
        "model": closing.model,
        "app_id": None,
        "streamed": closing.stream,
        "cancelled": closing.client_status == CLIENT_LEFT,
        "provider_name": providers.get(closing.endpoint, closing.provider) if closing.outcome == "ok" else None,
        "latency": _ms(closing.client_ttft if closing.stream else closing.ttft),
        "moderation_latency": None,
        "generation_time": _ms(closing.client_duration),
        "finish_reason": closing.finish_reason or None,
        "native_finish_reason": None,
        "service_tier": None,
        "tokens_prompt": closing.prompt_tokens,
        "tokens_completion": closing.completion_tokens,
        "native_tokens_prompt": closing.prompt_tokens,
        "native_tokens_completion": closing.completion_tokens,
        "native_tokens_completion_images": None,
        "native_tokens_reasoning": closing.reasoning_tokens,
        "native_tokens_cached": closing.cached_tokens,
        "num_media_prompt": None,
        "num_input_audio_prompt": None,
        "num_media_completion": None,
        "num_search_results": None,
        "num_fetches": None,
        "web_search_engine": None,
        "origin": closing.app,
        "is_byok": False,
        "external_user": None,
        "api_type": "completions",
        "preset_id": None,
        "router": closing.policy,
        "provider_responses": [_attempt(row, providers) for row in rows if row.endpoint],
        "user_agent": None,
        "http_referer": closing.app if closing.app.startswith(("http://", "https://")) else None,
        "data_region": "global",
        "workspace_id": None,
    }


def _attempt(row: Row, providers: Mapping[str, str]) -> dict[str, Any]:
    """`status` is the host's, null where none came; `outcome` and `error` are the gateway's words, and the host's."""
    return {
        "endpoint_id": row.endpoint,
        "id": row.id,
        "is_byok": False,
        "latency": _ms(row.ttft if row.ttft is not None else row.duration),
        "model_permaslug": row.model,
        "provider_name": providers.get(row.endpoint, row.provider),
        "status": row.status or None,
        "outcome": row.outcome,
        "error": row.error or None,
    }


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else math.ceil(1_000 * seconds)


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
