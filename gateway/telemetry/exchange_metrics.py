"""Metrics of exchanges, as clients see them: one sample for each exchange, from its closing row."""

from collections import Counter as Multiset
from functools import partial
from operator import attrgetter

from prometheus_client import CollectorRegistry, Counter

from gateway.telemetry.batches import grouped, observe
from gateway.telemetry.figure_definitions import client_latency, client_ttft
from gateway.telemetry.policy_labels import PolicyLabels
from gateway.telemetry.prometheus_internals import BatchHistogram
from gateway.types import Row

# The buckets that OpenTelemetry's GenAI conventions advise, extended to 60 s for queueing hosts.
TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
TPOT_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
OVERHEAD_BUCKETS = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0004, 0.0005, 0.00075),
    *(0.001, 0.0015, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
_WHERE = ("model", "policy")
# Outcome and status class of the exchanges that the rules watch from the first one on.
WATCHED = (("ok", "2xx"), ("unrouted", "5xx"), ("internal", "5xx"))
_kind = attrgetter("model", "policy", "stream")


class ExchangeMetrics:
    """The metrics of exchanges. `count` takes closing rows only."""

    def __init__(self, registry: CollectorRegistry, policies: PolicyLabels) -> None:
        self._policies = policies
        self._prepared: set[tuple[str, str]] = set()  # models and policies
        counter = partial(Counter, registry=registry)
        histogram = partial(BatchHistogram, registry=registry)
        self._ttft = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from the client's request to its first token.",
            _WHERE,
            buckets=TTFT_BUCKETS,
        )
        self._tpot = histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time per output token after the first, of successful streams.",
            _WHERE,
            buckets=TPOT_BUCKETS,
        )
        self._duration = histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from the client's request to the end of its answer, of successful requests.",
            (*_WHERE, "stream"),
            buckets=DURATION_BUCKETS,
        )
        self._tokens = histogram(
            "gen_ai_client_token_usage", "Tokens of one answer.", (*_WHERE, "gen_ai_token_type"), buckets=TOKEN_BUCKETS
        )
        self._overhead = histogram(
            "gateway_overhead_seconds", "Time in the gateway, without waiting for endpoints.", buckets=OVERHEAD_BUCKETS
        )
        self._requests = counter(
            "gateway_requests_total",
            "Exchanges, by their outcome for the client.",
            (*_WHERE, "outcome", "stream", "code"),
        )
        self._cache = counter(
            "gateway_cache_requests_total", "Lookups in the response cache, by result.", (*_WHERE, "result")
        )

    def prepare(self, model: str, policy: str) -> None:
        """Exposes, at 0, what a dashboard shows and a rule watches of a model's requests under a policy."""
        self._prepared.add((model, policy))
        for result in ("hit", "joined", "miss", "refresh"):
            self._cache.labels(model, policy, result)
        for outcome, code in WATCHED:
            for stream in ("true", "false"):
                self._requests.labels(model, policy, outcome, stream, code)

    def count(self, rows: list[Row]) -> None:
        if not rows:
            return
        self._overhead.observe_many([row.overhead for row in rows])
        for (model, policy, stream), own in grouped(rows, _kind).items():
            self._count(model, self._policies.of(policy), "true" if stream else "false", own)

    def _count(self, model: str, policy: str, stream: str, rows: list[Row]) -> None:
        if (model, policy) not in self._prepared:
            self.prepare(model, policy)
        for result, number in Multiset([row.cache for row in rows if row.cache != "off"]).items():
            self._cache.labels(model, policy, result).inc(number)
        endings = Multiset([(row.outcome, row.client_status // 100) for row in rows])
        for (outcome, status), number in endings.items():
            self._requests.labels(model, policy, outcome, stream, f"{status}xx").inc(number)
        latencies = [latency for row in rows if (latency := client_latency(row)) is not None]
        observe(self._duration, (model, policy, stream), latencies)
        timed = [(row, ttft) for row in rows if (ttft := client_ttft(row)) is not None]
        observe(self._ttft, (model, policy), [ttft for _, ttft in timed])
        observe(self._tpot, (model, policy), [_per_token(row, ttft) for row, ttft in timed if _has_speed(row)])
        counted = [row for row in rows if row.cache not in ("hit", "joined") and row.usage_source != "none"]
        observe(self._tokens, (model, policy, "input"), [row.prompt_tokens for row in counted])
        observe(self._tokens, (model, policy, "output"), [row.completion_tokens for row in counted])


def _has_speed(row: Row) -> bool:
    return row.stream and row.outcome == "ok" and row.completion_tokens > 1


def _per_token(row: Row, ttft: float) -> float:
    return max(0.0, row.client_duration - ttft) / (row.completion_tokens - 1)
