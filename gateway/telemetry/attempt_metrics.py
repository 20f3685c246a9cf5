"""Metrics of endpoints: one sample for each attempt."""

from collections import Counter as Multiset
from functools import partial
from operator import attrgetter
from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from gateway.telemetry.batches import grouped, observe
from gateway.telemetry.definitions import NOT_ATTEMPTS
from gateway.telemetry.exchange_metrics import TTFT_BUCKETS
from gateway.telemetry.prometheus_internals import BatchHistogram
from gateway.types import OUTCOMES, PICO, RepairKind, Row, ToolResult

THROUGHPUT_BUCKETS = (*(1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0), *(60.0, 80.0, 100.0, 150.0, 200.0, 400.0))
KINDS = {
    "prompt": attrgetter("prompt_tokens"),
    "cached": attrgetter("cached_tokens"),
    "completion": attrgetter("completion_tokens"),
    "reasoning": attrgetter("reasoning_tokens"),
}
_endpoint = attrgetter("endpoint")


class AttemptMetrics:
    """The metrics of attempts. `count` takes rows that have an endpoint."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        histogram = partial(BatchHistogram, registry=registry)
        self._attempts = counter("gateway_attempts_total", "Attempts, by outcome.", ("endpoint", "outcome"))
        self._tokens = counter("gateway_tokens_total", "Tokens; cached is part of prompt.", ("endpoint", "kind"))
        self._cost = counter("gateway_cost_usd_total", "Dollars spent.", ("endpoint",))
        self._ttft = histogram(
            "gateway_attempt_ttft_seconds", "Time from sending to the first token.", ("endpoint",), buckets=TTFT_BUCKETS
        )
        self._throughput = histogram(
            "gateway_attempt_throughput_tokens_per_second",
            "Output tokens per second after the first token.",
            ("endpoint",),
            buckets=THROUGHPUT_BUCKETS,
        )
        self._tools = counter(
            "gateway_tool_calls_total",
            "Answers with tool calls, by the worst result of their calls.",
            ("endpoint", "result"),
        )
        self._repairs = counter("gateway_repairs_total", "Repaired answers, by kind of repair.", ("endpoint", "kind"))

    def prepare(self, endpoint: str) -> None:
        for outcome in OUTCOMES:
            if outcome not in NOT_ATTEMPTS:
                self._attempts.labels(endpoint, outcome)
        for kind in KINDS:
            self._tokens.labels(endpoint, kind)
        for result in filter(None, get_args(ToolResult)):
            self._tools.labels(endpoint, result)
        for kind in get_args(RepairKind):
            self._repairs.labels(endpoint, kind)
        self._cost.labels(endpoint)

    def count(self, rows: list[Row]) -> None:
        for endpoint, own in grouped(rows, _endpoint).items():
            self._count(endpoint, own)

    def _count(self, endpoint: str, rows: list[Row]) -> None:
        for outcome, number in Multiset([row.outcome for row in rows]).items():
            self._attempts.labels(endpoint, outcome).inc(number)
        for kind, tokens in KINDS.items():
            self._tokens.labels(endpoint, kind).inc(sum(map(tokens, rows)))
        for result, number in Multiset([row.tools for row in rows if row.tools]).items():
            self._tools.labels(endpoint, result).inc(number)
        for kind, number in Multiset([kind for row in rows for kind in row.repairs]).items():
            self._repairs.labels(endpoint, kind).inc(number)
        self._cost.labels(endpoint).inc(sum([row.cost for row in rows]) / PICO)
        observe(self._ttft, (endpoint,), [row.ttft for row in rows if row.ttft is not None])
        observe(self._throughput, (endpoint,), [row.throughput for row in rows if row.throughput is not None])
