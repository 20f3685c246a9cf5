"""The gateway's model page: an HTML file, its style sheet and script, and the data that the script shows.

    GET /, /models/AUTHOR/SLUG      the page
    GET /page/static/NAME           style sheet, script, icon
    GET /page/model.json            what the model is, its endpoints and policies, and their state
    GET /page/events                what changes, as server-sent events
    GET /page/limits.json           what is used of limits and budgets
    GET /page/exchanges.json        the last exchanges, filtered          /page/exchanges/ID.json     one of them

Like /metrics, it needs no key. It loads nothing from other servers.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.page.event_response import EventResponse
from gateway.page.exchange_routes import ExchangeRoutes
from gateway.page.page_answer import HEADERS, answer, compress, takes_gzip
from gateway.page.page_events import PageEvents
from gateway.page.page_state import PageState
from gateway.page.page_types import ShownModel
from gateway.types import Model

STATIC = Path(__file__).parent / "static"
TICK = 1.0  # seconds between two events
MOST_OPEN = 200  # event streams of one worker: each takes 300 KB, and some work every second
BASE = b"{{base}}"  # in the HTML: the relative URL from the page to the gateway's root
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class _Encoded(NamedTuple):
    """A model's page as JSON, and that compressed."""

    page: ShownModel
    data: bytes
    compressed: bytes


JsonHandler = Callable[[Request], Awaitable[object]]  # its result is encoded as JSON


class Page:
    """Serves the page from memory. `ended` says whether the worker is stopping; `more`: JSON handlers of
    other packages, by path."""

    def __init__(
        self, data: PageState, exchanges: ExchangeRoutes, ended: Callable[[], bool], more: Mapping[str, JsonHandler]
    ) -> None:
        self._data = data
        self._exchanges = exchanges
        self._ended = ended
        self._more = more
        self._files = {path.name: path.read_bytes() for path in STATIC.rglob("*") if path.suffix in _TYPES}
        self._compressed: dict[str, bytes] = {}  # files, when they were first wanted
        self._models: dict[str, _Encoded] = {}  # by id, as of the last second
        self._open = 0  # event streams

    def routes(self) -> list[Route]:
        return [
            Route("/", self._page, methods=["GET"]),
            Route("/models/{author}/{slug}", self._model_page, methods=["GET"]),
            Route("/page/static/{name}", self._static, methods=["GET"]),
            Route("/page/model.json", self._model, methods=["GET"]),
            Route("/page/events", self._events, methods=["GET"]),
            Route("/page/exchanges.json", self._as_json(self._exchanges.listed), methods=["GET"]),
            Route("/page/exchanges/{id}.json", self._as_json(self._exchanges.one), methods=["GET"]),
            *(Route(path, self._as_json(handler), methods=["GET"]) for path, handler in self._more.items()),
        ]

    async def _page(self, request: Request) -> Response:
        return self._html(request, b"")

    async def _model_page(self, request: Request) -> Response:
        parts = request.path_params
        self._data.model(f"{parts['author']}/{parts['slug']}")
        return self._html(request, b"../../")

    def _html(self, request: Request, base: bytes) -> Response:
        return answer(request, self._files["index.html"].replace(BASE, base), _TYPES[".html"])

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise HTTPException(404, "there is no such file")
        if name not in self._compressed:
            self._compressed[name] = compress(self._files[name])
        return answer(request, self._files[name], _TYPES[Path(name).suffix], self._compressed[name])

    async def _model(self, request: Request) -> Response:
        model = self._data.model(request.query_params.get("model", ""))
        page = await self._data.page(model)
        known = self._models.get(model.id)
        if known is None or known.page is not page:
            data = msgspec.json.encode(page)
            known = self._models[model.id] = _Encoded(page, data, compress(data))
        return answer(request, known.data, _TYPES[".json"], known.compressed)

    async def _events(self, request: Request) -> EventResponse:
        """HTTPException 503 when too many are open; the page works without events, and tries again."""
        model = self._data.model(request.query_params.get("model", ""))
        if self._open >= MOST_OPEN:
            raise HTTPException(503, "too many pages are open", {"retry-after": "10"})
        self._open += 1
        return EventResponse(self._seconds(model), HEADERS, takes_gzip(request), self._closed)

    def _closed(self) -> None:
        self._open -= 1

    async def _seconds(self, model: Model) -> AsyncGenerator[bytes]:
        """The events of each second in which there are any."""
        feed = self._data.feed
        await feed.refresh()  # what ended before this page was opened is in exchanges.json
        stream = PageEvents(feed.live[-1][0] if feed.live else 0)
        yield b": open\n\n"
        while not self._ended():
            await feed.refresh()
            page = await self._data.page(model)
            live = [(number, one) for number, one in feed.live if one.model == model.id]
            if piece := stream.second(page.endpoints, page.picks, live, round(time.time(), 1)):
                yield piece
            await asyncio.sleep(TICK)

    def _as_json(self, handler: JsonHandler) -> Callable[[Request], Awaitable[Response]]:
        async def as_json(request: Request) -> Response:
            return answer(request, msgspec.json.encode(await handler(request)), "application/json")

        return as_json
