"""Prometheus metrics, all of them made from ledger rows. `docs/metrics.md` explains each one.

Rows are counted in batches, off the request's path.

    worker 1: record(row) -> list -> flush() -> values -> publish() -> <folder>/counter_4711.db ...  ─┐
    worker 2: record(row) -> list -> flush() -> values -> publish() -> <folder>/counter_4712.db ...  ─┴─> exposition()

One worker does what many do. The supervisor clears the folder at start (`prepare_folder`) and drops the gauges of a
worker that died (`forget_dead`); its counters stay. Without the folder a worker still shows its own values.

Label values come from configuration and from closed sets in `types`: never a key, an app, a tenant or a prompt.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway import __version__
from gateway.compiled import BUILD
from gateway.state.conditions import PARTS
from gateway.telemetry.attempts import NOT_ATTEMPTS, AttemptMetrics
from gateway.telemetry.decisions import Decisions
from gateway.telemetry.exchanges import ExchangeMetrics
from gateway.telemetry.metric_values import Values
from gateway.telemetry.samples import Samples
from gateway.types import Row

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
State = Literal[0, 1, 2]

BATCH_ROWS = 500
SHED: Final = ("requests", "bodies", "connections")


class Metrics:
    """The metrics of one worker, and the exposition of all of them."""

    def __init__(self, folder: Path) -> None:
        registry = CollectorRegistry()
        self._values = Values(folder)  # of what is constructed next
        self._shown = CollectorRegistry()
        self._shown.register(self._values)
        self._rows: list[Row] = []
        self._refused: dict[str, int] = {}  # reason -> how often
        self._exchanges = ExchangeMetrics(registry)
        self._attempts = AttemptMetrics(registry)
        self._decisions = Decisions(registry)
        self._in_flight = Gauge(
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
        self._info = Gauge(
            "gateway_endpoint_info",
            "Always 1: which model an endpoint in use serves.",
            ["endpoint", "model"],
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
        self._failures = Counter(
            "gateway_part_failures_total", "Failures of the gateway's own parts.", ["part"], registry=registry
        )
        for part in PARTS:
            self._failures.labels(part)
        self._shed = Counter(
            "gateway_shed_total", "Requests refused because a worker had no room.", ["reason"], registry=registry
        )
        _build(registry)
        _deaths(registry)  # shown at 0
        for result in ("ok", "rejected"):
            self._reloads.labels(result)
        for reason in SHED:
            self._shed.labels(reason)

    def __repr__(self) -> str:
        return f"<Metrics {self._values!r}: {len(self._rows)} rows pending>"

    def prepare(self, model: str, endpoints: Iterable[str]) -> None:
        """Show the series of a model's endpoints at 0: a first failure is then seen as a rise, no panel is empty."""
        for endpoint in endpoints:
            self._attempts.prepare(endpoint)
            self._decisions.prepare(endpoint)
            self._state.labels(endpoint)
            self._info.labels(endpoint, model).set(1)

    def record(self, row: Row) -> None:
        """Remember a row for the next `flush`. Cheap: this is on the request's path."""
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def in_flight(self, count: int) -> None:
        """How many exchanges are under way."""
        self._in_flight.set(count)

    def flush(self) -> None:
        """Count everything recorded: this worker's exposition has it from now on."""
        rows, self._rows = self._rows, []
        attempts = [row for row in rows if row.endpoint and row.outcome not in NOT_ATTEMPTS]
        self._attempts.count(attempts)
        self._decisions.count(attempts)
        self._exchanges.count([row for row in rows if row.last])
        for reason, count in self._refused.items():
            self._shed.labels(reason).inc(count)
        self._refused.clear()

    def publish(self) -> None:
        """Show the other workers what was counted: any worker may answer the scrape. Call it about once a second.

        Raises OSError when their files, or this worker's, cannot be used; the next call does what is missing.
        """
        self._values.publish()

    def endpoint_state(self, endpoint: str, state: State) -> None:
        self._state.labels(endpoint).set(state)

    def policy_reload(self, ok: bool) -> None:
        self._reloads.labels("ok" if ok else "rejected").inc()

    def store_up(self, up: bool) -> None:
        self._store.set(up)

    def part_failure(self, part: str) -> None:
        self._failures.labels(part).inc()

    def shed(self, reason: str) -> None:
        """Count a request that was refused for one of `SHED`; visible with the next `flush`."""
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def ledger_error(self) -> None:
        self._ledger_errors.inc()

    def exposition(self) -> bytes:
        """All workers' metrics in Prometheus' text format, as far as they were flushed; serve it as `CONTENT_TYPE`.

        Takes some 20 ms; it only reads, so that another thread may do it.
        """
        return generate_latest(self._shown)

    def samples(self) -> Samples:
        """All workers' metrics as numbers, as far as they were flushed.

        Reads every worker's files, 10 ms or so: call it in a thread where requests are being served.
        """
        return Samples.of(self._values.collect())


def prepare_folder(folder: Path) -> None:
    """Create the folder, or empty it of what an earlier run left. For the supervisor, before any worker starts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder.glob("*.db"):
        path.unlink()


def forget_dead(folder: Path, pid: int) -> None:
    """Drop the gauges of a worker that is gone. Its counters stay."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def count_deaths(folder: Path) -> Callable[[], None]:
    """The supervisor's own metric: call it for each worker that died."""
    values = Values(folder, "supervisor")
    deaths = _deaths(CollectorRegistry())

    def show() -> None:
        with suppress(OSError):  # the next one brings what is missing
            values.publish()

    def count() -> None:
        deaths.inc()
        show()

    show()  # at 0: a first death is then seen as a rise
    return count


def _build(registry: CollectorRegistry) -> None:
    info = Gauge(
        "gateway_build_info",
        "Always 1: the version, and whether it has compiled modules.",
        ["version", "build"],
        registry=registry,
        multiprocess_mode="livemax",
    )
    info.labels(__version__, BUILD).set(1)


def _deaths(registry: CollectorRegistry) -> Counter:
    """Workers show it, the supervisor counts."""
    return Counter("gateway_worker_deaths_total", "Worker processes that died and were replaced.", registry=registry)
