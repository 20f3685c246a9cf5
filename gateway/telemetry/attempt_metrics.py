"""Metrics of endpoints: one sample for each attempt."""

from collections import Counter as Multiset
from functools import partial
from operator import attrgetter
from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from gateway.telemetry.batches import grouped, observe
from gateway.telemetry.exchange_metrics import TTFT_BUCKETS
from gateway.telemetry.figure_definitions import NOT_ATTEMPTS
from gateway.telemetry.policy_labels import PolicyLabels
from gateway.telemetry.prometheus_internals import BatchHistogram
from gateway.types import OUTCOMES, PICO, RepairKind, Row, ToolResult

THROUGHPUT_BUCKETS = (*(1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0), *(60.0, 80.0, 100.0, 150.0, 200.0, 400.0))
KINDS = {
    "prompt": attrgetter("prompt_tokens"),
    "cached": attrgetter("cached_tokens"),
    "completion": attrgetter("completion_tokens"),
    "reasoning": attrgetter("reasoning_tokens"),
}
_WHERE = ("endpoint", "policy")
_where = attrgetter(*_WHERE)


class AttemptMetrics:
    """The metrics of attempts. `count` takes rows that have an endpoint."""

    def __init__(self, registry: CollectorRegistry, policies: PolicyLabels) -> None:
        self._policies = policies
        self._prepared: set[tuple[str, str]] = set()  # endpoints and policies
        counter = partial(Counter, registry=registry)
        histogram = partial(BatchHistogram, registry=registry)
        self._attempts = counter("gateway_attempts_total", "Attempts, by outcome.", (*_WHERE, "outcome"))
        self._tokens = counter("gateway_tokens_total", "Tokens; cached is part of prompt.", (*_WHERE, "kind"))
        self._cost = counter("gateway_cost_usd_total", "Dollars spent.", _WHERE)
        self._ttft = histogram(
            "gateway_attempt_ttft_seconds", "Time from sending to the first token.", _WHERE, buckets=TTFT_BUCKETS
        )
        self._throughput = histogram(
            "gateway_attempt_throughput_tokens_per_second",
            "Output tokens per second after the first token.",
            _WHERE,
            buckets=THROUGHPUT_BUCKETS,
        )
        self._tools = counter(
            "gateway_tool_calls_total",
            "Answers with tool calls, by the worst result of their calls.",
            (*_WHERE, "result"),
        )
        self._repairs = counter("gateway_repairs_total", "Repaired answers, by kind of repair.", (*_WHERE, "kind"))
        self._explorations = counter(
            "gateway_explorations_total", "Requests that tried an endpoint with few recent answers.", _WHERE
        )

    def prepare(self, endpoint: str, policy: str) -> None:
        self._prepared.add((endpoint, policy))
        for outcome in OUTCOMES:
            if outcome not in NOT_ATTEMPTS:
                self._attempts.labels(endpoint, policy, outcome)
        for kind in KINDS:
            self._tokens.labels(endpoint, policy, kind)
        for result in filter(None, get_args(ToolResult)):
            self._tools.labels(endpoint, policy, result)
        for kind in get_args(RepairKind):
            self._repairs.labels(endpoint, policy, kind)
        self._cost.labels(endpoint, policy)
        self._explorations.labels(endpoint, policy)

    def count(self, rows: list[Row]) -> None:
        for (endpoint, policy), own in grouped(rows, _where).items():
            self._count((endpoint, self._policies.of(policy)), own)

    def _count(self, where: tuple[str, str], rows: list[Row]) -> None:
        if where not in self._prepared:
            self.prepare(*where)
        for outcome, number in Multiset([row.outcome for row in rows]).items():
            self._attempts.labels(*where, outcome).inc(number)
        for kind, tokens in KINDS.items():
            self._tokens.labels(*where, kind).inc(sum(map(tokens, rows)))
        for result, number in Multiset([row.tools for row in rows if row.tools]).items():
            self._tools.labels(*where, result).inc(number)
        for kind, number in Multiset([kind for row in rows for kind in row.repairs]).items():
            self._repairs.labels(*where, kind).inc(number)
        self._cost.labels(*where).inc(sum([row.cost for row in rows]) / PICO)
        if explored := sum([row.explored for row in rows]):
            self._explorations.labels(*where).inc(explored)
        observe(self._ttft, where, [row.ttft for row in rows if row.ttft is not None])
        observe(self._throughput, where, [row.throughput for row in rows if row.throughput is not None])
