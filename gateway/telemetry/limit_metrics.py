"""Metrics of the gateway's own limits. Labels are kinds of limits, never the name of a key, a group or an app."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.config import LIMITS, LimitName, Scope

SCOPES: tuple[Scope, ...] = ("key", "group", "app")
_KIND = ("limit", "scope")


class LimitMetrics:
    """Each worker counts its own refusals, and shows the lowest remaining share that it knows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "gateway_limit_refused_total", "Requests that a limit of the gateway refused.", _KIND, registry=registry
        )
        self._remaining = Gauge(
            "gateway_limit_remaining_ratio",
            "Remaining share of the limit that has the smallest share left.",
            _KIND,
            registry=registry,
            multiprocess_mode="livemin",
        )
        for limit in LIMITS:
            for scope in SCOPES:
                self._refused.labels(limit, scope)
                self._remaining.labels(limit, scope).set(1.0)

    def refused(self, limit: LimitName, scope: Scope) -> None:
        self._refused.labels(limit, scope).inc()

    def remaining(self, shares: Mapping[tuple[LimitName, Scope], float]) -> None:
        for (limit, scope), share in shares.items():
            self._remaining.labels(limit, scope).set(share)
