"""Warns about prices that are probably a mistake: per token instead of per million, or a discount above the price.

A price that is too low attracts all traffic; one that is too high gets none.
"""

from collections.abc import Iterator
from statistics import median

from gateway.config.settings import Settings
from gateway.types import Endpoint, Price
from gateway.types.price import PriceTier, Window

FAR = 20.0  # times the median price
LEAST, MOST = 0.001, 1_000.0  # USD per 1M tokens, used where there are too few endpoints for a median


def unusual_prices(settings: Settings) -> Iterator[str]:
    """A line for each price that is far from those of its model's other endpoints, or contradicts itself."""
    for model in settings.models:
        priced = [one for one in model.endpoints if one.price and one.status not in ("retired", "self_hosted")]
        for endpoint in priced:
            for name in ("input", "output"):
                yield from _far(endpoint, name, [getattr(one.price, name) for one in priced])
        for endpoint in model.endpoints:
            if endpoint.price:
                yield from _contradictory(endpoint.id, endpoint.price)


def _far(endpoint: Endpoint, name: str, prices: list[float]) -> Iterator[str]:
    price = getattr(endpoint.price, name)
    middle = median(prices) if len(prices) > 2 else None  # of two, either may be wrong
    low, high = (middle / FAR, middle * FAR) if middle else (LEAST, MOST)
    if not low <= price <= high:
        compared = f", the median is about {middle:g}" if middle else ""
        yield f"{endpoint.id}: price.{name} is {price:g}{compared}: prices are USD per 1M tokens, not per token"


def _contradictory(name: str, price: Price) -> Iterator[str]:
    parts: list[Price | PriceTier | Window] = [price, *price.tiers, *price.hours]
    for part in parts:
        if part.cached_input is not None and part.cached_input > part.input:
            yield f"{name}: cached_input is {part.cached_input:g}, above input, {part.input:g}: cached tokens cost less"
