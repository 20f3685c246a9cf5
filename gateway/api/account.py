"""What a key has spent: `GET /api/v1/key`, `/api/v1/credits`, `/api/v1/activity`.

A key is a tenant and sees only its own spending. The sums come from the store and lag by a second or two. Days, weeks
(from Monday) and months are in UTC. If the store is down, the response is 503 and not a wrong zero.
"""

import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, TypedDict

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.key_admin import budget, info
from gateway.api.key_admin_types import LimitInfo, Reset
from gateway.api.openrouter_models import canonical_slug, provider_names
from gateway.errors import BadRequest, StoreAway
from gateway.intake.auth import Keys
from gateway.intake.field_types import ApiObject, Count, Data, DataList, Day, Moment, Usd, json_answer
from gateway.keys.limit_view import LimitUse, LimitView
from gateway.telemetry.archive import Archive, Spending, Spent
from gateway.types import PICO, Model
from gateway.types.utc import utc_text

ACTIVITY_DAYS = 31  # the last 30 whole days, and today
_EPOCH = date(1970, 1, 1)
_FREE_REQUESTS = {"limit": 0, "used": 0, "remaining": 0}
_NO_RATE_LIMIT: dict[str, str | int] = {
    "requests": -1,
    "interval": "10s",
    "note": "the key has no limit of requests; hosts have their own",
}


class ActivityQuery(TypedDict, total=False):
    date: Day


class KeyUsage(ApiObject):
    """What a key has spent, and its limits. `limit` is its budget with the least left."""

    label: Annotated[str, Meta(description="the tenant")]
    usage: Usd
    usage_daily: Usd
    usage_weekly: Usd
    usage_monthly: Usd
    free_model_daily_requests: dict[str, int]
    rate_limit: dict[str, str | int]
    limits: list[LimitInfo]
    limit: Usd | None
    limit_remaining: Usd | None
    limit_reset: Reset | None
    expires_at: Moment | None
    include_byok_in_limit: bool = False
    byok_usage: float = 0
    byok_usage_daily: float = 0
    byok_usage_weekly: float = 0
    byok_usage_monthly: float = 0
    is_free_tier: bool = False
    is_management_key: bool = False
    is_provisioning_key: bool = False
    creator_user_id: None = None
    organization_id: None = None
    workspace_id: None = None
    allowed_data_regions: tuple[str, ...] = ("global",)
    budgets: tuple[str, ...] = ()
    effective_budget: None = None


class CreditSums(ApiObject):
    total_credits: float
    total_usage: float


class ActivityLine(ApiObject):
    date: Day
    model: str
    model_permaslug: str
    endpoint_id: str
    provider_name: str
    usage: float
    requests: Count
    prompt_tokens: Count
    cached_tokens: Count
    completion_tokens: Count
    reasoning_tokens: Count
    byok_usage_inference: float = 0


class Account:
    """Responses are `{"data": ...}`; amounts are in USD."""

    def __init__(self, models: tuple[Model, ...], archive: Archive, keys: Keys, view: LimitView) -> None:
        self._slugs = {model.id: canonical_slug(model) for model in models}
        self._providers = provider_names(models)
        self._archive = archive
        self._keys = keys
        self._view = view

    def routes(self) -> list[Route]:
        return [
            Route("/api/v1/key", self._key, methods=["GET"]),
            Route("/api/v1/auth/key", self._key, methods=["GET"]),  # the former path
            Route("/api/v1/credits", self._credits, methods=["GET"]),
            Route("/api/v1/activity", self._activity, methods=["GET"]),
        ]

    async def _key(self, request: Request) -> Response:
        key = self._keys.caller(request)
        tenant = key.tenant
        today = _today()
        month = _number(today.replace(day=1))
        monday = _number(today - timedelta(days=today.weekday()))
        now = _number(today)
        ever, spent = await self._spending(tenant, range(min(month, monday), now + 1))
        uses = await self._uses(tenant)
        limit, remaining, reset = budget(uses)
        usage = KeyUsage(
            label=tenant,
            limits=[info(one) for one in uses],
            limit=limit,
            limit_remaining=remaining,
            limit_reset=reset,
            expires_at=None if key.expires is None else utc_text(key.expires),
            usage=ever / PICO,
            usage_daily=_usd(one for one in spent if one.day == now),
            usage_weekly=_usd(one for one in spent if one.day >= monday),
            usage_monthly=_usd(one for one in spent if one.day >= month),
            free_model_daily_requests=_FREE_REQUESTS,
            rate_limit=_rate_limit(uses),
        )
        return json_answer(Data(usage))

    async def _credits(self, request: Request) -> Response:
        """The gateway has no prepaid credits, so the total granted equals the total used."""
        spending = await self._spending(self._keys.caller(request).tenant)
        used = spending.ever / PICO
        return json_answer(Data(CreditSums(total_credits=used, total_usage=used)))

    async def _activity(self, request: Request) -> Response:
        tenant = self._keys.caller(request).tenant
        newest = _number(_today())
        days: Iterable[int] = range(newest, newest - ACTIVITY_DAYS, -1)
        if text := request.query_params.get("date"):
            wanted = _day(text)
            days = [day for day in days if day == wanted]
        spending = await self._spending(tenant, days)
        return json_answer(DataList([self._line(one) for one in spending.by_day]))

    def _line(self, spent: Spent) -> ActivityLine:
        counts = spent.counts
        return ActivityLine(
            date=(_EPOCH + timedelta(days=spent.day)).isoformat(),
            model=spent.model,
            model_permaslug=self._slugs.get(spent.model, spent.model),
            endpoint_id=spent.endpoint,
            provider_name=self._providers.get(spent.endpoint, spent.endpoint),
            usage=counts.get("cost", 0) / PICO,
            requests=counts.get("requests", 0),
            prompt_tokens=counts.get("prompt", 0),
            cached_tokens=counts.get("cached", 0),
            completion_tokens=counts.get("completion", 0),
            reasoning_tokens=counts.get("reasoning", 0),
        )

    async def _uses(self, tenant: str) -> list[LimitUse]:
        try:
            return await self._view.of(tenant)
        except OSError:
            raise StoreAway("the use of the limits is unknown") from None

    async def _spending(self, tenant: str, days: Iterable[int] = ()) -> Spending:
        try:
            return await self._archive.spending(tenant, days)
        except OSError:
            raise StoreAway("spending is unknown") from None


def _rate_limit(uses: Iterable[LimitUse]) -> dict[str, str | int]:
    rates = [int(one.bound) for one in uses if one.limit == "requests_per_minute"]
    return {"requests": min(rates), "interval": "1m", "note": "see `limits`"} if rates else _NO_RATE_LIMIT


def _today() -> date:
    return datetime.fromtimestamp(time.time(), UTC).date()


def _number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def _day(text: str) -> int:
    """Raises BadRequest."""
    try:
        return _number(date.fromisoformat(text))
    except ValueError:
        raise BadRequest("`date` must be a date in UTC, as in 2026-11-21", param="date") from None


def _usd(spent: Iterable[Spent]) -> float:
    return sum(one.counts.get("cost", 0) for one in spent) / PICO
