"""`GET /page/history.json?model=MODEL&range=R`: the figures of a model over time, of all workers and replicas.

It has no tenant, only hashes of them. While the store is down the response is 503 and not a wrong zero.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import BadRequest, StoreAway
from gateway.page.page_answer import HEADERS, compress, compressed_answer, takes_gzip
from gateway.page.past import RANGES, past
from gateway.route.fleet import Fleet
from gateway.telemetry.archive import Archive
from gateway.telemetry.history_reader import HistoryReader
from gateway.types import Model

JSON = "application/json"
FRESH = 5.0  # seconds that a response is kept, so that many open pages cost as much as one


class History:
    """Serves the history of each model."""

    def __init__(
        self,
        find: Callable[[str], Model],
        fleets: Mapping[str, Fleet],
        archive: Archive,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`find` returns the model of a name, or raises HTTPException."""
        self._find = find
        self._fleets = fleets
        self._reader = HistoryReader(archive, clock)
        self._clock = clock
        self._made: dict[tuple[str, str], tuple[float, bytes, bytes]] = {}  # when, the JSON, and the same compressed
        self._making = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<History of {len(self._fleets)} models: {self._reader!r}>"

    def route(self) -> Route:
        return Route("/page/history.json", self._serve, methods=["GET"])

    async def _serve(self, request: Request) -> Response:
        model = self._find(request.query_params.get("model", "")).id
        name = request.query_params.get("range", "24h")
        if name not in RANGES:
            raise BadRequest(f"`range` must be one of {', '.join(RANGES)}", param="range")
        async with self._making:
            made = self._made.get((model, name))
            if made is None or self._clock() >= made[0] + FRESH:
                made = self._made[model, name] = await self._make(model, name)
        _, data, compressed = made
        if takes_gzip(request):
            return compressed_answer(compressed, JSON)
        return Response(data, headers={**HEADERS, "content-type": JSON})

    async def _make(self, model: str, name: str) -> tuple[float, bytes, bytes]:
        states = self._fleets[model].states
        prices = {one: state.endpoint.price for one, state in states.items() if state.endpoint.price is not None}
        now = self._clock()
        try:
            data = orjson.dumps(await past(self._reader, model, name, prices, now))
        except OSError:
            raise StoreAway("the history is unknown") from None
        return now, data, await asyncio.to_thread(compress, data)
