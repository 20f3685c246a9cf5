"""Metrics of prices: those in force, their changes, and what a price sync found but did not take."""

from collections.abc import Collection
from functools import partial
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.types import Price
from gateway.types.price import PriceFlag

KINDS = ("input", "cached_input", "output")


class PriceMetrics:
    """Of endpoints in use. Every worker sets the same gauges, so the maximum over all is each one's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livemax")
        self._price = gauge(
            "gateway_price_usd_per_million_tokens",
            "List price of an endpoint in use, USD per 1M tokens.",
            ["endpoint", "kind"],
        )
        self._flag = gauge(
            "gateway_price_flag",
            "1 while a price sync has found something about an endpoint in use that a person should look at.",
            ["endpoint", "kind"],
        )
        self._synced = gauge(
            "gateway_price_last_sync_timestamp_seconds", "Unix time of the last price sync; 0 without one."
        )
        self._changes = Counter(
            "gateway_price_changes_total",
            "Price changes of an endpoint in use, while the gateway ran; every worker counts them.",
            ["endpoint"],
            registry=registry,
        )

    def prepare(self, name: str) -> None:
        """Exposes the series of an endpoint, so that an alert has data before the first change or flag."""
        self._changes.labels(name)
        for kind in KINDS:
            self._price.labels(name, kind)
        for flag in get_args(PriceFlag):
            self._flag.labels(name, flag)

    def synced(self, at: float) -> None:
        self._synced.set(at)

    def changed(self, name: str) -> None:
        self._changes.labels(name).inc()

    def endpoint(self, name: str, price: Price, flags: Collection[str]) -> None:
        """Sets the price in force and the flags of an endpoint."""
        cached = price.input if price.cached_input is None else price.cached_input
        for kind, usd in zip(KINDS, (price.input, cached, price.output), strict=True):
            self._price.labels(name, kind).set(usd)
        for flag in get_args(PriceFlag):
            self._flag.labels(name, flag).set(flag in flags)
