"""Metrics of scheduled probes. The worker that probes counts; every worker shows what the store has."""

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.types import PICO


class ProbeMetrics:
    """Its labels are ids of endpoints, names of canaries and outcomes of attempts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livemax")
        self._runs = counter("gateway_probe_runs_total", "Speed runs, by outcome.", ("endpoint", "outcome"))
        self._canaries = counter(
            "gateway_probe_canaries_total", "Answers to canaries, by result.", ("endpoint", "canary", "result")
        )
        self._spent = counter("gateway_probe_spent_usd_total", "Dollars spent on probes.")
        self._drift = gauge(
            "gateway_probe_drift",
            "1 while the sequential test says that the endpoint fails a canary too often.",
            ("endpoint", "canary"),
        )
        self._budget = gauge("gateway_probe_budget_usd_per_day", "Most dollars for probes per day; 0: none are sent.")
        self._today = gauge(
            "gateway_probe_spent_today_usd", "Dollars for probes of this day (UTC), reserved ones included."
        )

    def prepare(self, budget: float, endpoints: Iterable[str], canaries: Iterable[str]) -> None:
        """Exposes the series at 0: then a first failure is an increase."""
        self._budget.set(budget)
        names = tuple(canaries)
        for endpoint in endpoints:
            self._runs.labels(endpoint, "ok")
            for canary in names:
                self._drift.labels(endpoint, canary)
                for result in ("passed", "failed"):
                    self._canaries.labels(endpoint, canary, result)

    def ran(self, endpoint: str, outcome: str) -> None:
        self._runs.labels(endpoint, outcome).inc()

    def judged(self, endpoint: str, canary: str, passed: bool) -> None:
        self._canaries.labels(endpoint, canary, "passed" if passed else "failed").inc()

    def paid(self, cost: int) -> None:
        """`cost` in 1e-12 USD."""
        self._spent.inc(cost / PICO)

    def drifts(self, endpoint: str, canary: str, drifting: bool) -> None:
        self._drift.labels(endpoint, canary).set(drifting)

    def spent_today(self, cost: int) -> None:
        """`cost` in 1e-12 USD."""
        self._today.set(cost / PICO)
