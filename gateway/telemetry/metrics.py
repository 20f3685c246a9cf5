"""Prometheus metrics, all of them made from ledger rows. `docs/metrics.md` explains each one.

    worker 1: record(row) -> list -> flush() -> <folder>/counter_4711.db ...  ─┐
    worker 2: record(row) -> list -> flush() -> <folder>/counter_4712.db ...  ─┴─> exposition() in any worker

prometheus-client's multiprocess mode is used for one worker as for many. The supervisor clears the folder at start
(`prepare_folder`) and drops the gauges of a worker that died (`forget_dead`); its counters stay.

Label values come from configuration and from closed sets in `types`: never a key, an app, a tenant or a prompt.
"""

import os
from pathlib import Path
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.telemetry.instruments import Distribution, Tally
from gateway.telemetry.samples import Samples
from gateway.types import PICO, OutcomeName, Row

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
State = Literal[0, 1, 2]

BATCH_ROWS = 500
OUTCOMES: tuple[str, ...] = tuple(name for part in get_args(OutcomeName) for name in get_args(part))
NOT_ATTEMPTS = frozenset({"cached", "unrouted"})  # how an exchange ends that asked no endpoint
NOBODYS_FAULT = frozenset({"cancelled", "malformed", "rejected"})  # say nothing about who served: in no success rate
TOKEN_KINDS = ("prompt", "cached", "completion", "reasoning")

# The buckets that OpenTelemetry's GenAI conventions advise; first tokens of a queueing host go on to 60 s.
TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
TPOT_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
THROUGHPUT_BUCKETS = (*(1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0), *(60.0, 80.0, 100.0, 150.0, 200.0, 400.0))
OVERHEAD_BUCKETS = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0004, 0.0005, 0.00075),
    *(0.001, 0.0015, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)


class Metrics:
    """The metrics of one worker, and the exposition of all of them."""

    def __init__(self, folder: Path) -> None:
        registry = CollectorRegistry()
        _keep_values_in(folder)
        self._folder = folder
        self._rows: list[Row] = []
        self._in_flight = 0
        self._exchanges = _Exchanges(registry)
        self._attempts = _Attempts(registry)
        self._in_flight_gauge = Gauge(
            "gateway_in_flight", "Exchanges under way.", registry=registry, multiprocess_mode="livesum"
        )
        # live: with plain max, a worker that died seeing an endpoint open would show it open for ever
        self._state = Gauge(
            "gateway_endpoint_state",
            "Breaker of the endpoint: 0 closed, 1 half-open, 2 open; the worst of all workers.",
            ["endpoint"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._store = Gauge(
            "gateway_store_up",
            "1 while every worker reaches its store.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._reloads = Counter(
            "gateway_policy_reloads_total", "Policy files read again.", ["result"], registry=registry
        )
        self._ledger_errors = Counter(
            "gateway_ledger_errors_total", "Rows that could not be written to the ledger.", registry=registry
        )
        for result in ("ok", "rejected"):
            self._reloads.labels(result)

    def __repr__(self) -> str:
        return f"<Metrics {self._folder}: {len(self._rows)} rows pending, {self._in_flight} in flight>"

    def prepare(self, endpoints: tuple[str, ...]) -> None:
        """Show the series of these endpoints at 0: a first failure is then seen as a rise, and no panel is empty."""
        for endpoint in endpoints:
            self._attempts.prepare(endpoint)
            self._state.labels(endpoint)

    def record(self, row: Row) -> None:
        """Remember a row for the next `flush`. Cheap: this is on the request's path."""
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def in_flight(self, change: int) -> None:
        """Count an exchange in (+1) or out (-1); visible with the next `flush`."""
        self._in_flight += change

    def flush(self) -> None:
        """Make everything recorded visible. Call it about once a second: any worker may answer the scrape."""
        rows, self._rows = self._rows, []
        for row in rows:
            if row.endpoint and row.outcome not in NOT_ATTEMPTS:
                self._attempts.add(row)
            if row.last:
                self._exchanges.add(row)
        self._attempts.write()
        self._exchanges.write()
        self._in_flight_gauge.set(self._in_flight)

    def endpoint_state(self, endpoint: str, state: State) -> None:
        self._state.labels(endpoint).set(state)

    def policy_reload(self, ok: bool) -> None:
        self._reloads.labels("ok" if ok else "rejected").inc()

    def store_up(self, up: bool) -> None:
        self._store.set(up)

    def ledger_error(self) -> None:
        self._ledger_errors.inc()

    def exposition(self) -> bytes:
        """All workers' metrics in Prometheus' text format, as far as they were flushed; serve it as `CONTENT_TYPE`.

        Takes some 20 ms; it only reads files, so that another thread may do it.
        """
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def samples(self) -> Samples:
        """All workers' metrics as numbers, as far as they were flushed.

        Reads every worker's files, 10 ms or so: call it in a thread where requests are being served.
        """
        collector = multiprocess.MultiProcessCollector(None, path=str(self._folder))  # type: ignore[no-untyped-call]
        return Samples.of(collector.collect())  # type: ignore[no-untyped-call]


class _Exchanges:
    """What clients saw: one sample per exchange, from the row that closes it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ttft = Distribution(
            registry,
            "gen_ai_server_time_to_first_token_seconds",
            "From the client's request to its first token.",
            TTFT_BUCKETS,
            *("model", "policy"),
        )
        self._tpot = Distribution(
            registry,
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time per output token after the first, of streams that ended well.",
            TPOT_BUCKETS,
            *("model", "policy"),
        )
        self._duration = Distribution(
            registry,
            "gen_ai_server_request_duration_seconds",
            "From the client's request to the end of its answer.",
            DURATION_BUCKETS,
            *("model", "policy", "stream"),
        )
        self._tokens = Distribution(
            registry,
            "gen_ai_client_token_usage",
            "Tokens of one answer.",
            TOKEN_BUCKETS,
            *("model", "policy", "gen_ai_token_type"),
        )
        self._overhead = Distribution(
            registry, "gateway_overhead_seconds", "Time in the gateway while waiting for no endpoint.", OVERHEAD_BUCKETS
        )
        self._requests = Tally(
            registry,
            "gateway_requests_total",
            "Exchanges, by how they ended for the client.",
            *("model", "policy", "outcome", "stream", "code"),
        )
        self._cache = Tally(
            registry, "gateway_cache_requests_total", "Exchanges that asked the response cache.", "result"
        )
        for result in ("hit", "miss", "refresh"):
            self._cache.prepare(result)

    def add(self, row: Row) -> None:
        model, policy = row.model, row.policy
        stream = "true" if row.stream else "false"
        self._requests.add((model, policy, row.outcome, stream, f"{row.client_status // 100}xx"))
        self._duration.add((model, policy, stream), row.client_duration)
        self._overhead.add((), row.overhead)
        if row.cache != "off":
            self._cache.add((row.cache,))
        if row.cache == "hit":
            return  # nobody generated these tokens: they say nothing about speed or use
        if row.client_ttft is not None:
            self._ttft.add((model, policy), row.client_ttft)
            if row.stream and row.outcome == "ok" and row.completion_tokens > 1:
                after = max(0.0, row.client_duration - row.client_ttft)
                self._tpot.add((model, policy), after / (row.completion_tokens - 1))
        if row.usage_source != "none":
            self._tokens.add((model, policy, "input"), row.prompt_tokens)
            self._tokens.add((model, policy, "output"), row.completion_tokens)

    def write(self) -> None:
        for instrument in (self._ttft, self._tpot, self._duration, self._tokens, self._overhead):
            instrument.write()
        self._requests.write()
        self._cache.write()


class _Attempts:
    """What endpoints did: one sample per attempt."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Tally(
            registry, "gateway_attempts_total", "Attempts, by how they ended.", "endpoint", "outcome"
        )
        self._tokens = Tally(registry, "gateway_tokens_total", "Tokens; cached is part of prompt.", "endpoint", "kind")
        self._cost = Tally(registry, "gateway_cost_usd_total", "Dollars spent.", "endpoint")
        self._ttft = Distribution(
            registry, "gateway_attempt_ttft_seconds", "From send to first token.", TTFT_BUCKETS, "endpoint"
        )
        self._throughput = Distribution(
            registry,
            "gateway_attempt_throughput_tokens_per_second",
            "Output tokens per second from send to last token, of attempts that ended well.",
            THROUGHPUT_BUCKETS,
            "endpoint",
        )

    def prepare(self, endpoint: str) -> None:
        for outcome in OUTCOMES:
            if outcome not in NOT_ATTEMPTS:
                self._attempts.prepare(endpoint, outcome)
        for kind in TOKEN_KINDS:
            self._tokens.prepare(endpoint, kind)
        self._cost.prepare(endpoint)

    def add(self, row: Row) -> None:
        endpoint = row.endpoint
        self._attempts.add((endpoint, row.outcome))
        self._tokens.add((endpoint, "prompt"), row.prompt_tokens)
        self._tokens.add((endpoint, "cached"), row.cached_tokens)
        self._tokens.add((endpoint, "completion"), row.completion_tokens)
        self._tokens.add((endpoint, "reasoning"), row.reasoning_tokens)
        self._cost.add((endpoint,), row.cost / PICO)
        if row.ttft is not None:
            self._ttft.add((endpoint,), row.ttft)
        if row.outcome == "ok" and not row.held and row.completion_tokens > 0 and row.duration > 0:
            self._throughput.add((endpoint,), row.completion_tokens / row.duration)

    def write(self) -> None:
        for instrument in (self._attempts, self._tokens, self._cost, self._ttft, self._throughput):
            instrument.write()


def prepare_folder(folder: Path) -> None:
    """Create the folder, or empty it of what an earlier run left. For the supervisor, before any worker starts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder.glob("*.db"):
        path.unlink()


def forget_dead(folder: Path, pid: int) -> None:
    """Drop the gauges of a worker that is gone. Its counters stay."""
    multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _keep_values_in(folder: Path) -> None:
    """Make prometheus-client keep the values of what is constructed next in this folder.

    It decides between memory and mapped files once, when it is imported, by an environment variable. Deciding here
    makes the order of imports irrelevant. A process has one `Metrics` at a time: a later one takes over.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # read again after a fork
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
