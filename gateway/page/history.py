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
from gateway.page.history_shape import Json
from gateway.page.page_answer import answer, compress
from gateway.page.past import RANGES, past
from gateway.route.fleet import Fleet
from gateway.telemetry.archive import Archive
from gateway.telemetry.history_reader import HistoryReader
from gateway.types import Model

JSON = "application/json"
FRESH = 5.0  # seconds that a response is kept, so that many open pages cost as much as one
LEAST_REST = (
    30  # times as long as it took to make: a long history takes a small share of a worker, however often it is read
)


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
        self._made: dict[tuple[str, str], tuple[float, bytes, bytes]] = {}  # until when, the JSON, and it compressed
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
            if made is None or self._clock() >= made[0]:
                made = self._made[model, name] = await self._make(model, name)
        _, data, compressed = made
        return answer(request, data, JSON, compressed)

    async def read(self, model: str, name: str) -> Json:
        """The range of this name, as in the response. Raises OSError when the store cannot be reached."""
        states = self._fleets[model].states
        prices = {one: state.endpoint.price for one, state in states.items() if state.endpoint.price is not None}
        return await past(self._reader, model, name, prices, self._clock())

    async def _make(self, model: str, name: str) -> tuple[float, bytes, bytes]:
        began = self._clock()
        try:
            read = await self.read(model, name)
        except OSError:
            raise StoreAway("the history is unknown") from None
        data, compressed = await asyncio.to_thread(_written, read)
        took = max(0.0, self._clock() - began)
        return began + max(FRESH, LEAST_REST * took), data, compressed


def _written(read: Json) -> tuple[bytes, bytes]:
    data = orjson.dumps(read)
    return data, compress(data)
