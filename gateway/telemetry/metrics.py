"""Prometheus metrics, all made from ledger rows. `docs/metrics.md` explains each one.

Rows are counted in batches, off the request's path.

    worker 1: record(row) -> list -> flush() -> values -> publish() -> <folder>/counter_4711.db ...  ─┐
    worker 2: record(row) -> list -> flush() -> values -> publish() -> <folder>/counter_4712.db ...  ─┴─> exposition()

A single worker works the same way. The supervisor clears the folder at start (`prepare_folder`) and deletes the gauges
of a worker that died (`forget_dead`); its counters stay. Without the folder a worker still exposes its own values.

Label values come from configuration and from closed sets in `types`: never a key, an app, a tenant or a prompt.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway import __version__
from gateway.compiled import BUILD
from gateway.state.conditions import PARTS
from gateway.state.store import StoreStats
from gateway.telemetry.attempt_metrics import AttemptMetrics
from gateway.telemetry.decision_metrics import Decisions
from gateway.telemetry.exchange_metrics import ExchangeMetrics
from gateway.telemetry.figure_definitions import is_attempt
from gateway.telemetry.limit_metrics import LimitMetrics
from gateway.telemetry.metric_values import Values
from gateway.telemetry.policy_labels import PolicyLabels
from gateway.telemetry.price_metrics import PriceMetrics
from gateway.telemetry.probe_metrics import ProbeMetrics
from gateway.telemetry.process_metrics import Processes
from gateway.telemetry.reload_metrics import ReloadMetrics
from gateway.types import PROBE, Row

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
State = Literal[0, 1, 2]

BATCH_ROWS = 500
SHED: Final = ("requests", "bodies", "key", "lag", "connections", "queue")
NO_KEY: Final = ("missing", "invalid", "expired")  # why a request gets a 401


class Metrics:
    """The metrics of one worker, and the exposition of all of them."""

    def __init__(self, folder: Path) -> None:
        registry = CollectorRegistry()
        largest = partial(Gauge, registry=registry, multiprocess_mode="livemax")
        self._values = Values(folder)  # used by the metrics below
        self._exposed = CollectorRegistry()
        self._exposed.register(self._values)
        self._exposed.register(Processes(self._values.pids))
        self._rows: list[Row] = []
        self._shed_counts: dict[str, int] = {}  # by reason
        self._bounded: dict[str, tuple[int, int]] = {}  # by model, as far as they are exposed
        self._policies = PolicyLabels()
        self._exchanges = ExchangeMetrics(registry, self._policies)
        self._attempts = AttemptMetrics(registry, self._policies)
        self._decisions = Decisions(registry, self._policies)
        self.probes = ProbeMetrics(registry)
        self.prices = PriceMetrics(registry)
        self.limits = LimitMetrics(registry)
        self._in_flight = Gauge(
            "gateway_in_flight", "Exchanges under way.", registry=registry, multiprocess_mode="livesum"
        )
        self._loop_lag = largest(
            "gateway_event_loop_lag_seconds", "Largest lag of the event loop; the maximum over all workers."
        )
        # live: with plain max, a worker that died while an endpoint was open would report it open for ever
        self._state = largest(
            "gateway_endpoint_state",
            "Breaker of the endpoint: 0 closed, 1 half-open, 2 open; the maximum over all workers.",
            ["endpoint"],
        )
        self._info = largest(
            "gateway_endpoint_info",
            "Always 1; the labels name the model of each endpoint in use.",
            ["endpoint", "model"],
        )
        self._store = Gauge(
            "gateway_store_up",
            "1 while every worker can reach the store.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        commands = "Reads and failed writes of the store."
        self._store_commands = Counter("gateway_store_commands_total", commands, ["result"], registry=registry)
        self._store_counts = StoreStats()  # those exposed
        self.policy_reloads = ReloadMetrics(registry, "policy", "policy_files_invalid", "the policy files")
        self.config_reloads = ReloadMetrics(registry, "config", "config_file_invalid", "gateway.yaml")
        lost = "Rows that could not be written to the ledger."
        self._ledger_errors = Counter("gateway_ledger_errors_total", lost, registry=registry)
        self._failures = _at_zero(
            Counter("gateway_part_failures_total", "Failures of the gateway's own parts.", ["part"], registry=registry),
            PARTS,
        )
        shed_about = "Requests rejected because a worker was at its limit."
        self._shed = _at_zero(Counter("gateway_shed_total", shed_about, ["reason"], registry=registry), SHED)
        no_key = "Requests refused with a 401."
        self._no_key = _at_zero(Counter("gateway_unauthorized_total", no_key, ["reason"], registry=registry), NO_KEY)
        refused = "Attempts beyond the first that the retry budget did not allow."
        self._refused = Counter("gateway_retries_refused_total", refused, ["model"], registry=registry)
        _build(registry)
        self.store_commands(self._store_counts)

    def __repr__(self) -> str:
        return f"<Metrics {self._values!r}: {len(self._rows)} rows pending>"

    def prepare(self, model: str, endpoints: Iterable[str], default: str, policies: Iterable[str]) -> None:
        """Exposes the series of a model at 0: then a first failure is an increase, and no panel is empty.

        Those of requests for all `policies`; those of attempts, which are many, for the `default` policy. The others
        begin with their first attempt.
        """
        self._refused.labels(model)
        for policy in (default, *policies):
            self._exchanges.prepare(model, self._policies.of(policy))
        self._decisions.prepare(default)
        for endpoint in endpoints:
            self._attempts.prepare(endpoint, default)
            self.prices.prepare(endpoint)
            self._state.labels(endpoint)
            self._info.labels(endpoint, model).set(1)

    def record(self, row: Row) -> None:
        """Queues a row for the next `flush`. Cheap, as it is on the request's path."""
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def in_flight(self, count: int) -> None:
        """Sets how many exchanges are under way."""
        self._in_flight.set(count)

    def loop_lag(self, seconds: float) -> None:
        """Sets the largest lag of the event loop since the last call, in seconds."""
        self._loop_lag.set(seconds)

    def flush(self) -> None:
        """Counts all queued rows: this worker's exposition includes them from now on."""
        rows, self._rows = self._rows, []
        attempts = [row for row in rows if is_attempt(row)]
        self._attempts.count(attempts)
        self._decisions.count(attempts)
        self._exchanges.count([row for row in rows if row.last and row.tenant != PROBE])
        for reason, count in self._shed_counts.items():
            self._shed.labels(reason).inc(count)
        self._shed_counts.clear()

    def publish(self) -> None:
        """Makes counts visible to the other workers, any of which may serve the scrape. Call it about once a second.

        Raises OSError when this worker's or another worker's files cannot be used; the next call does what is missing.
        """
        self._values.publish()

    def endpoint_state(self, endpoint: str, state: State) -> None:
        self._state.labels(endpoint).set(state)

    def store_up(self, up: bool) -> None:
        self._store.set(up)

    def store_commands(self, counts: StoreStats) -> None:
        """Sets the counts since the start."""
        before, self._store_counts = self._store_counts, counts
        for result, count, exposed in zip(StoreStats._fields, counts, before, strict=True):
            self._store_commands.labels(result).inc(count - exposed)

    def bounded(self, model: str, refused: int, shed: int) -> None:
        """Sets the counts since the start: retries without a budget, and requests without a place in the queue."""
        before, self._bounded[model] = self._bounded.get(model, (0, 0)), (refused, shed)
        self._refused.labels(model).inc(refused - before[0])
        self._shed.labels("queue").inc(shed - before[1])

    def part_failure(self, part: str) -> None:
        self._failures.labels(part).inc()

    def shed(self, reason: str) -> None:
        """Counts a request that was shed for a reason in `SHED`; exposed after the next `flush`."""
        self._shed_counts[reason] = self._shed_counts.get(reason, 0) + 1

    def unauthorized(self, reason: str) -> None:
        """Counts a request without a valid key, for a reason in `NO_KEY`."""
        self._no_key.labels(reason).inc()

    def ledger_error(self) -> None:
        self._ledger_errors.inc()

    def exposition(self) -> bytes:
        """All workers' flushed metrics in Prometheus' text format, served as `CONTENT_TYPE`.

        Takes some 20 ms; it only reads, so another thread may call it.
        """
        return generate_latest(self._exposed)


def _at_zero(counter: Counter, values: Iterable[str]) -> Counter:
    """The counter, with the series of these values of its label exposed at 0."""
    for value in values:
        counter.labels(value)
    return counter


def prepare_folder(folder: Path) -> None:
    """Creates the folder, or deletes the files of an earlier run. For the supervisor, before any worker starts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder.glob("*.db"):
        path.unlink()


def forget_dead(folder: Path, pid: int) -> None:
    """Deletes the gauges of a dead worker. Its counters stay."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def count_deaths(folder: Path) -> Callable[[], None]:
    """The supervisor's own metric: returns the function to call for each worker that died."""
    values = Values(folder, "supervisor")
    deaths = _deaths(CollectorRegistry())

    def show() -> None:
        with suppress(OSError):  # the next call repeats it
            values.publish()

    def count() -> None:
        deaths.inc()
        show()

    show()  # at 0: then a first death is an increase
    return count


def _build(registry: CollectorRegistry) -> None:
    """What is the same for the whole life of a worker."""
    info = Gauge(
        "gateway_build_info",
        "Always 1; the labels name the version and the build (compiled or pure Python).",
        ["version", "build"],
        registry=registry,
        multiprocess_mode="livemax",
    )
    info.labels(__version__, BUILD).set(1)
    _deaths(registry)  # exposed at 0


def _deaths(registry: CollectorRegistry) -> Counter:
    """Workers expose it, the supervisor counts."""
    return Counter("gateway_worker_deaths_total", "Worker processes that died and were replaced.", registry=registry)
