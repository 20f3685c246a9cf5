"""A small server that answers the page's routes with invented history, for browser tests and screenshots."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.page.page import STATIC
from tests.page.invented import Invented
from tests.page.invented_series import Json
from tests.support.ports import free_port

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
ENDED = object()


class InventedGateway:
    """Answers until `end()`. `tell` sends open pages an event, `pour` whole events as they are."""

    def __init__(self, invented: Invented) -> None:
        self.invented = invented
        self.url = ""
        self._listeners: set[asyncio.Queue[object]] = set()

    def app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Route("/models/{author}/{slug}", self._model_page),
            Route("/page/static/{name}", self._static),
            Route("/page/model.json", self._model),
            Route("/page/history.json", self._history),
            Route("/page/exchanges.json", self._exchanges),
            Route("/page/exchanges/{id}.json", self._exchange),
            Route("/page/prices.json", self._prices),
            Route("/page/probes.json", self._probes),
            Route("/page/limits.json", self._limits),
            Route("/page/events", self._events),
        ]
        app = Starlette(routes=routes)
        app.add_middleware(GZipMiddleware, minimum_size=500)
        return app

    def tell(self, event: str, data: Json) -> None:
        for queue in self._listeners:
            queue.put_nowait((event, data))

    def pour(self, events: bytes) -> None:
        for queue in self._listeners:
            queue.put_nowait(events)

    def end(self) -> None:
        for queue in self._listeners:
            queue.put_nowait(ENDED)

    async def _page(self, _: Request) -> Response:
        return _file("index.html", base="")

    async def _model_page(self, _: Request) -> Response:
        return _file("index.html", base="../../")

    async def _static(self, request: Request) -> Response:
        return _file(request.path_params["name"])

    async def _model(self, _: Request) -> Response:
        return _json(self.invented.model())

    async def _history(self, request: Request) -> Response:
        return _json(self.invented.history(request.query_params["range"]))

    async def _exchanges(self, request: Request) -> Response:
        wanted = request.query_params
        found = [one for one in self.invented.exchanges() if _matches(one, wanted.get("kind", ""))]
        for field in ("policy", "endpoint", "app"):
            found = [one for one in found if wanted.get(field, "") in ("", one[field])]
        limit = int(wanted.get("limit", "50"))
        return _json({"exchanges": found[:limit], "more": len(found) > limit})

    async def _exchange(self, request: Request) -> Response:
        return _json(self.invented.exchange(request.path_params["id"]))

    async def _prices(self, _: Request) -> Response:
        return _json(self.invented.prices())

    async def _probes(self, _: Request) -> Response:
        return _json(self.invented.probes())

    async def _limits(self, _: Request) -> Response:
        return _json(self.invented.limits())

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self._stream(), headers=HEADERS, media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[object] = asyncio.Queue()
        self._listeners.add(queue)
        yield b": hello\n\n"
        try:
            while (item := await queue.get()) is not ENDED:
                if isinstance(item, bytes):
                    yield item
                    continue
                event, data = item  # type: ignore[misc]
                yield b"event: %s\ndata: %s\n\n" % (event.encode(), orjson.dumps(data))
        finally:
            self._listeners.discard(queue)


def _matches(one: Json, kinds: str) -> bool:
    found = {name for name in ("hedged", "retried", "slow") if one[name]}
    if one["outcome"] not in ("ok", "cached"):
        found.add("failed")
    return not kinds or bool(found & set(kinds.split(",")))


def _file(name: str, base: str = "") -> Response:
    path = STATIC / name
    content = path.read_bytes().replace(b"{{base}}", base.encode())
    return Response(content, headers={**HEADERS, "content-type": TYPES.get(path.suffix, "text/plain")})


def _json(data: Json) -> Response:
    return Response(orjson.dumps(data), headers={**HEADERS, "content-type": "application/json"})


@asynccontextmanager
async def serving(gateway: InventedGateway, port: int = 0) -> AsyncIterator[None]:
    """A server of `gateway` in this process at `gateway.url`, which ends with the block."""
    port = port or free_port()
    gateway.url = f"http://127.0.0.1:{port}"
    server = uvicorn.Server(uvicorn.Config(gateway.app(), port=port, log_level="warning", lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        gateway.end()
        server.should_exit = True
        await running


async def forever() -> None:
    """Serves at port 8999 for a person who works on the page: `python -m tests.page.invented_gateway`."""
    gateway = InventedGateway(Invented(at=time.time()))
    async with serving(gateway, 8999):
        print(gateway.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(forever())
