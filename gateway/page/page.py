"""The gateway's model page: one HTML file, its style sheet, its script, and the data that the script polls.

    GET /                    the page
    GET /page/static/NAME    style sheet, script, icon
    GET /page/data.json      all figures on the page; the script polls it every 2 s

Like /metrics, it needs no key. It loads nothing from other servers.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import Settings
from gateway.page.view import shown
from gateway.policy.policies import Policies
from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.route.fleet import Fleet
from gateway.telemetry.metrics import Metrics

STATIC = Path(__file__).parent / "static"
FRESH = 1.0  # seconds that the data is cached, so that many open pages cost as much as one
_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class Page:
    """Serves the page from memory."""

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        fleets: Mapping[str, Fleet],
        metrics: Metrics,
        recent: RecentExchanges,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._fleets = fleets
        self._metrics = metrics
        self._recent = recent
        self._files = {path.name: path.read_bytes() for path in STATIC.iterdir()}
        self._data = b""
        self._made_at = float("-inf")
        self._making = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/", self._page, methods=["GET"]),
            Route("/page/static/{name}", self._static, methods=["GET"]),
            Route("/page/data.json", self._figures, methods=["GET"]),
        ]

    async def _page(self, _: Request) -> Response:
        return self._file("index.html")

    async def _static(self, request: Request) -> Response:
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        content = self._files.get(name)
        if content is None:
            raise HTTPException(404, "there is no such file")
        return Response(content, headers={**_HEADERS, "content-type": _TYPES[Path(name).suffix]})

    async def _figures(self, _: Request) -> Response:
        async with self._making:
            if time.monotonic() - self._made_at >= FRESH:
                await self._make()
        return Response(self._data, headers={**_HEADERS, "content-type": "application/json"})

    async def _make(self) -> None:
        self._metrics.flush()
        samples = await asyncio.to_thread(self._metrics.samples)
        self._made_at = time.monotonic()
        data = shown(self._settings, self._policies, self._fleets, samples, self._recent, self._made_at, time.time())
        self._data = orjson.dumps(data)
