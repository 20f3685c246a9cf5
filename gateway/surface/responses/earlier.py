"""References to earlier responses, and the routes that return stored responses.

    previous_response_id ──> the items of that response and of all before it, prepended to `input`
    item_reference ────────> the item itself: its id contains its response's name and its index there
    GET, DELETE /v1/responses/{id}, GET /v1/responses/{id}/input_items

A tenant sees only its own responses: any other is "not found".
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypedDict, cast

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.cache.stored_responses import StoredResponse, StoredResponses
from gateway.errors import BadRequest, ClientError, NotFound, StoreAway
from gateway.intake.auth import Keys
from gateway.intake.field_types import ApiObject, Yes, json_answer

Json = dict[str, Any]

REFERENCE = "item_reference"
LONGEST_NAME = 128  # characters
MOST_NAMED = 1_000  # responses that one request may refer to: reading them blocks the store
PAGE, LARGEST_PAGE = 20, 100  # input items per page: default, maximum
_AWAY = "the earlier response cannot be read"


class Earlier(NamedTuple):
    """The `responses` that a request continues, oldest first, and the `items` that it refers to, by id."""

    responses: list[StoredResponse]
    items: Mapping[str, Json]

    def applied(self, body: Json) -> tuple[list[Json], Json]:
        """The request's own input, and its body with all references resolved."""
        own = [
            self.items.get(item.get("id"), item) if _is_reference(item) else item for item in _listed(body.get("input"))
        ]
        before = [item for one in self.responses for item in one.items()]
        return own, {**body, "input": [*before, *own]}


NO_EARLIER = Earlier([], {})


def refers(body: Json) -> bool:
    items = body.get("input")
    return bool(body.get("previous_response_id")) or (isinstance(items, list) and any(map(_is_reference, items)))


async def load_earlier(kept: StoredResponses, tenant: str, body: Json) -> Earlier:
    """Loads what `body` refers to. Raises BadRequest or NotFound if missing, StoreAway if the store is down."""
    name, items = body.get("previous_response_id"), body.get("input")
    if name and (not isinstance(name, str) or len(name) > LONGEST_NAME):
        raise BadRequest("`previous_response_id` must be the id of a response", param="previous_response_id")
    references = [str(item.get("id"))[:LONGEST_NAME] for item in items or () if _is_reference(item)]
    ids = {_response_of(one) for one in references}
    if len(ids) > MOST_NAMED:
        raise BadRequest(f"`input` may refer to items of at most {MOST_NAMED} responses", param="input")
    try:
        before = await kept.conversation(tenant, name) if name else []
        holders = await kept.by_ids(tenant, ids)
    except OSError:
        raise StoreAway(_AWAY) from None
    if name and not before:
        message = f"Previous response with id '{name}' not found; it may have expired"
        raise BadRequest(message, param="previous_response_id", code="previous_response_not_found")
    return Earlier(before, {one: _item(holders.get(_response_of(one)), one) for one in references})


def record(response: Json, given: Any, earlier: Earlier) -> StoredResponse:
    """A response as it is stored; `given` is its own input."""
    name = response["id"].removeprefix("resp_")
    items = [_listed_item(item, f"{name}_i{index}") for index, item in enumerate(_listed(given))]
    before = earlier.responses
    return StoredResponse(response, items, [one.name for one in before], before[-1].size if before else 0)


class ItemQuery(TypedDict, total=False):
    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)]
    order: Literal["asc", "desc"]
    after: str


class InputItem(TypedDict):
    type: str
    id: str


class ResponseItems(ApiObject, tag_field="object", tag="list"):
    data: list[InputItem]
    first_id: str
    last_id: str
    has_more: bool


class DeletedResponse(ApiObject, tag_field="object", tag="response"):
    id: str
    deleted: Yes = True


class KeptRoutes:
    """Returns and deletes stored responses."""

    def __init__(self, kept: StoredResponses | None, keys: Keys) -> None:
        self._kept = kept
        self._keys = keys

    def routes(self) -> list[Route]:
        found = []
        for start in ("/v1", "/api/v1"):
            found += [
                Route(f"{start}/responses/{{name}}", self._one, methods=["GET"]),
                Route(f"{start}/responses/{{name}}", self._delete, methods=["DELETE"]),
                Route(f"{start}/responses/{{name}}/input_items", self._input, methods=["GET"]),
            ]
        return found

    async def _one(self, request: Request) -> Response:
        kept = await self._found(request)
        if request.query_params.get("stream") == "true":
            raise BadRequest("`stream` is not supported for stored responses; leave it out", param="stream")
        return JSONResponse(kept.response)

    async def _delete(self, request: Request) -> Response:
        tenant, name = self._keys.caller(request).tenant, request.path_params["name"]
        try:
            known = self._kept is not None and await self._kept.forget(tenant, name)
        except OSError:
            raise StoreAway(_AWAY) from None
        if not known:
            raise _missing(name)
        return json_answer(DeletedResponse(name))

    async def _input(self, request: Request) -> Response:
        """Newest first, unless `order=asc`."""
        kept, query = await self._found(request), request.query_params
        items = kept.input if query.get("order") == "asc" else kept.input[::-1]
        if after := query.get("after"):
            places = [place for place, item in enumerate(items) if item.get("id") == after]
            items = items[places[0] + 1 :] if places else []
        page = items[: _limit(query.get("limit"))]
        first, last = (page[0]["id"], page[-1]["id"]) if page else ("", "")
        return json_answer(ResponseItems(cast(list[InputItem], page), first, last, len(page) < len(items)))

    async def _found(self, request: Request) -> StoredResponse:
        """Raises Unauthorized, NotFound, StoreAway."""
        tenant, name = self._keys.caller(request).tenant, request.path_params["name"]
        try:
            found = {} if self._kept is None else await self._kept.by_ids(tenant, [name])
        except OSError:
            raise StoreAway(_AWAY) from None
        if name not in found:
            raise _missing(name)
        return found[name]


def _missing(name: str) -> ClientError:
    return NotFound(f"Response with id '{name[:LONGEST_NAME]}' not found.", param="id")


def _limit(value: str | None) -> int:
    valid = value is None or (value.isascii() and value.isdecimal() and len(value) < 4)
    limit = int(value) if value is not None and valid else PAGE
    if not valid or not 1 <= limit <= LARGEST_PAGE:
        raise BadRequest(f"`limit` must be a whole number from 1 to {LARGEST_PAGE}", param="limit")
    return limit


def _is_reference(item: Any) -> bool:
    """Whether this is an `item_reference`, whose `type` is optional."""
    if not isinstance(item, dict) or "id" not in item:
        return False
    return item.get("type") == REFERENCE or (item.get("type") is None and "role" not in item)


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [{"role": "user", "content": given}]


def _listed_item(item: Json, name: str) -> Json:
    """An input item as OpenAI lists it: with a type and an id, and with its text in parts."""
    listed = {"type": "message", **item} if "role" in item else dict(item)
    listed["id"] = item.get("id") or f"{_PREFIXES.get(listed.get('type'), 'msg')}_{name}"
    if isinstance(item.get("content"), str):
        is_output = item.get("role") == "assistant"
        part = {"type": "output_text", "text": item["content"], "annotations": [], "logprobs": []}
        listed["content"] = [part if is_output else {"type": "input_text", "text": item["content"]}]
    listed.setdefault("status", "completed")
    return listed


_PREFIXES: Mapping[Any, str] = {"function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def _response_of(item: str) -> str:
    """The id of the response that an item belongs to: `fc_NAME_i2` and `fc_NAME_2` are items of `resp_NAME`."""
    return f"resp_{item.partition('_')[2].rpartition('_')[0]}"


def _item(kept: StoredResponse | None, name: str) -> Json:
    for item in kept.items() if kept is not None else ():
        if item.get("id") == name:
            return item
    raise NotFound(f"Item with id '{name}' not found; it may have expired", param="input")
