"""The key management API, behind the admin key: `/api/v1/keys`, as at OpenRouter.

    GET, POST /api/v1/keys      GET, PATCH, DELETE /api/v1/keys/{name}      POST /api/v1/keys/{name}/rotate

`{name}` is a key's name or its hash. Every worker and replica follows within two seconds, this one at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.key_admin_types import DeletedKey, KeyFields, KeyInfo, LimitInfo, NewKey, Reset, RotateFields
from gateway.config.keys import NO_TIME, time_of
from gateway.errors import BadRequest, StoreAway, TooLarge
from gateway.intake.field_types import Data, DataList, json_answer
from gateway.keys.key_desk import KeyDesk
from gateway.keys.key_record import KeyRecord
from gateway.keys.limit_view import LimitUse, LimitView
from gateway.telemetry.archive import Archive
from gateway.types import PICO
from gateway.types.utc import utc_text

T = TypeVar("T")
LARGEST = 64 << 10  # bytes of a body
PAGE = 100  # keys in one response


class KeyAdmin:
    """`follow` makes this worker read what was changed."""

    def __init__(
        self, desk: KeyDesk, archive: Archive, view: LimitView, follow: Callable[[], Awaitable[object]]
    ) -> None:
        self._desk = desk
        self._archive = archive
        self._view = view
        self._follow = follow
        self._one_at_a_time = asyncio.Lock()  # over the desk's connection

    def routes(self) -> list[Route]:
        one = "/api/v1/keys/{name}"
        return [
            Route("/api/v1/keys", self._list, methods=["GET"]),
            Route("/api/v1/keys", self._create, methods=["POST"]),
            Route(one, self._show, methods=["GET"]),
            Route(one, self._change, methods=["PATCH"]),
            Route(one, self._revoke, methods=["DELETE"]),
            Route(f"{one}/rotate", self._rotate, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        text = request.query_params.get("offset", "0")
        if not text.isdecimal() or len(text) > 9:
            raise BadRequest("`offset` must be a whole number", param="offset")
        records = await self._done(self._desk.listed)
        page = records[int(text) : int(text) + PAGE]
        return json_answer(DataList([await self._info(record) for record in page]))

    async def _create(self, request: Request) -> Response:
        fields = await _body(request, KeyFields)
        if fields.name is UNSET:
            raise BadRequest("`name` is missing", param="name")
        wanted = KeyRecord(name=fields.name, digest="", created=0.0, changed=0, **_changes(fields))
        record, secret = await self._done(lambda: self._desk.create(wanted), changes=True)
        return json_answer(NewKey(await self._info(record), secret), 201)

    async def _show(self, request: Request) -> Response:
        record = await self._done(lambda: self._desk.find(request.path_params["name"]))
        return json_answer(Data(await self._info(record)))

    async def _change(self, request: Request) -> Response:
        name, fields = request.path_params["name"], await _body(request, KeyFields)
        if fields.name is not UNSET and fields.name != name:
            raise BadRequest("a key keeps its name, which is its tenant; create another key", param="name")
        changes = _changes(fields)
        record = await self._done(lambda: self._desk.change(name, **changes), changes=True)
        return json_answer(Data(await self._info(record)))

    async def _revoke(self, request: Request) -> Response:
        await self._done(lambda: self._desk.revoke(request.path_params["name"]), changes=True)
        return json_answer(DeletedKey())

    async def _rotate(self, request: Request) -> Response:
        name, fields = request.path_params["name"], await _body(request, RotateFields)
        record, secret = await self._done(lambda: self._desk.rotate(name, fields.grace), changes=True)
        return json_answer(NewKey(await self._info(record), secret))

    async def _done(self, work: Callable[[], Awaitable[T]], *, changes: bool = False) -> T:
        """Runs `work`. Raises StoreAway without the store."""
        try:
            async with self._one_at_a_time:
                done = await work()
        except OSError:
            raise StoreAway("keys cannot be managed") from None
        if changes:
            await self._follow()
        return done

    async def _info(self, record: KeyRecord) -> KeyInfo:
        try:
            spent, uses = await self._archive.spending(record.name, ()), await self._view.of(record.name)
        except OSError:
            raise StoreAway("the usage of the keys is unknown") from None
        limit, remaining, reset = budget(uses)
        return KeyInfo(
            hash=record.digest,
            name=record.name,
            label=record.name,
            disabled=record.disabled,
            created_at=utc_text(record.created),
            updated_at=utc_text(record.changed / 1_000),
            expires_at=None if record.expires is None else utc_text(record.expires),
            policy=record.policy,
            policies=record.policies,
            models=record.models,
            group=record.group,
            limits=[info(one) for one in uses],
            limit=limit,
            limit_remaining=remaining,
            limit_reset=reset,
            usage=spent.ever / PICO,
        )


def budget(uses: list[LimitUse]) -> tuple[float | None, float | None, Reset | None]:
    """OpenRouter's `limit`, `limit_remaining` and `limit_reset`: of the key's own budgets, the one with the least
    left."""
    own = [one for one in uses if one.scope == "key" and one.limit.startswith("usd")]
    if not own:
        return None, None, None
    least = min(own, key=lambda one: one.remaining)
    return least.bound, least.remaining, "daily" if least.limit == "usd_per_day" else "monthly"


def info(use: LimitUse) -> LimitInfo:
    return LimitInfo(use.limit, use.scope, use.name, use.bound, use.used, use.remaining, utc_text(use.resets_at))


async def _body(request: Request, kind: type[T]) -> T:
    """Raises BadRequest, TooLarge."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > LARGEST:
            raise TooLarge(LARGEST)
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not valid: {error}") from None


def _changes(fields: KeyFields) -> dict[str, Any]:
    """What a request changes of a record. Raises BadRequest."""
    named = ("disabled", "policy", "policies", "models", "group")
    found = {name: value for name in named if (value := getattr(fields, name)) is not UNSET}
    if fields.expires_at is not UNSET:
        found["expires"] = None if fields.expires_at is None else _expiry(fields.expires_at)
    if fields.limits is not UNSET:
        found |= {name: value for name, value in msgspec.structs.asdict(fields.limits).items() if value is not UNSET}
    return found | _openrouters_limit(fields)


def _expiry(text: str) -> float:
    expires = time_of(text)
    if expires is None:
        raise BadRequest(NO_TIME, param="expires_at")
    return expires


def _openrouters_limit(fields: KeyFields) -> dict[str, float | None]:
    if fields.limit is UNSET:
        return {}
    if fields.limit is None:
        return {"usd_per_day": None, "usd_per_month": None}
    if fields.limit_reset == "daily":
        return {"usd_per_day": fields.limit}
    if fields.limit_reset == "monthly":
        return {"usd_per_month": fields.limit}
    raise BadRequest("`limit` needs `limit_reset`: daily or monthly", param="limit_reset")
