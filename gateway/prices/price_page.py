"""`GET /page/prices.json?model=MODEL`: the price history of a model's endpoints, for the model page.

Each endpoint's first change is the catalogue's price, or that of gateway.yaml. Times are Unix seconds, prices USD per
1M tokens; null is unknown. Made for each request from what is in memory.
"""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.prices.price_book import PriceChange, RaisedFlag, moment_of
from gateway.prices.price_list import PriceList
from gateway.types import Endpoint, Model


class PricePage:
    """Over the prices of one worker."""

    def __init__(self, prices: PriceList) -> None:
        self._prices = prices

    async def history(self, request: Request) -> object:
        """As JSON. Raises HTTPException for an unknown model."""
        models = self._prices.settings.models
        name = request.query_params.get("model") or None
        model = next((one for one in models if name in (None, one.id, *one.aliases)), None)
        if model is None:
            raise HTTPException(404, "there is no such model")
        return self._shown(model)

    def _shown(self, model: Model) -> dict[str, Any]:
        return {
            "last_sync": self._prices.book.synced,
            "endpoints": {endpoint.id: self._history(endpoint) for endpoint in model.endpoints},
        }

    def _history(self, endpoint: Endpoint) -> dict[str, Any]:
        known = self._prices.history(endpoint)
        changes = [*self._first(endpoint), *map(_change, known.changes)]
        return {"changes": changes, "flags": list(map(_flag, known.flags))}

    def _first(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        price = endpoint.price
        if price is None:
            return []
        source = "gateway.yaml" if endpoint.id in self._prices.settings.own_prices else "catalogue"
        prices = {"input": price.input, "cached_input": price.cached_input, "output": price.output}
        return [{"at": _published(price.as_of), "source": source, **prices}]


def _change(change: PriceChange) -> dict[str, Any]:
    prices = {"input": change.input, "cached_input": change.cached_input, "output": change.output}
    return {"at": change.at, "source": change.source, **prices}


def _flag(flag: RaisedFlag) -> dict[str, Any]:
    return {"at": flag.at, "kind": flag.kind, "text": flag.text}


def _published(as_of: str) -> float | None:
    """The moment of a catalogue's date, a day or the first of a month."""
    try:
        return moment_of(f"{as_of}-01" if as_of.count("-") == 1 else as_of)
    except ValueError:
        return None
