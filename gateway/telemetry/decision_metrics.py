"""Metrics of decisions: hedges, regret, relaxed limits, and predictions compared with measurements."""

from collections import Counter as Multiset
from functools import partial
from operator import attrgetter

from prometheus_client import CollectorRegistry, Counter

from gateway.route.filters import Tier
from gateway.telemetry.batches import grouped, observe
from gateway.telemetry.policy_labels import PolicyLabels
from gateway.telemetry.prometheus_internals import BatchHistogram
from gateway.types import PICO, Row

HEDGES = ("won", "lost", "failed", "cancelled")  # results of a second attempt
REASONS = ("sample", "explore", "cap")
RATIO_BUCKETS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_policy = attrgetter("policy")
_where = attrgetter("endpoint", "policy")
_reason = attrgetter("regret_reason")


class Decisions:
    """The metrics of decisions. `count` takes rows that have an endpoint."""

    def __init__(self, registry: CollectorRegistry, policies: PolicyLabels) -> None:
        self._policies = policies
        self._prepared: set[str] = set()
        counter = partial(Counter, registry=registry)
        ratio = partial(BatchHistogram, buckets=RATIO_BUCKETS, registry=registry)
        self._hedges = counter("gateway_hedges_total", "Second attempts (hedges), by result.", ("policy", "result"))
        self._regret = counter(
            "gateway_regret_usd_total", "Expected dollars above the best eligible score.", ("policy", "reason")
        )
        self._dollars = ratio(
            "gateway_cost_actual_to_predicted_ratio",
            "Actual cost of an answer, divided by its predicted cost.",
            ("endpoint", "policy"),
        )
        self._seconds = ratio(
            "gateway_duration_actual_to_predicted_ratio",
            "Actual duration of an answer, divided by its predicted duration.",
            ("endpoint", "policy"),
        )
        self._relaxed = counter(
            "gateway_relaxed_total",
            "Decisions where no endpoint met every limit, by the least important limit that was given up.",
            ("policy", "what"),
        )

    def prepare(self, policy: str) -> None:
        self._prepared.add(policy)
        for tier in (one for one in Tier if one is not Tier.GOOD):
            self._relaxed.labels(policy, tier.words)
        for result in HEDGES:
            self._hedges.labels(policy, result)
        for reason in REASONS:
            self._regret.labels(policy, reason)

    def count(self, rows: list[Row]) -> None:
        for policy, own in grouped(rows, _policy).items():
            self._count(self._policies.of(policy), own)
        for (endpoint, policy), own in grouped([row for row in rows if row.outcome == "ok"], _where).items():
            costs = [row.cost / row.predicted_usd for row in own if row.predicted_usd and row.usage_source == "host"]
            times = [row.duration / row.predicted_s for row in own if row.predicted_s and not row.held]
            labels = endpoint, self._policies.of(policy)
            observe(self._dollars, labels, costs)
            observe(self._seconds, labels, times)

    def _count(self, policy: str, rows: list[Row]) -> None:
        if policy not in self._prepared:
            self.prepare(policy)
        for result, number in Multiset([row.hedge for row in rows]).items():
            if result in HEDGES:
                self._hedges.labels(policy, result).inc(number)
        for limit, number in Multiset([row.relaxed for row in rows if row.relaxed]).items():
            self._relaxed.labels(policy, limit).inc(number)
        for reason, own in grouped([row for row in rows if row.regret], _reason).items():
            self._regret.labels(policy, reason).inc(sum([row.regret for row in own]) / PICO)
