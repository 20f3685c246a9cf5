"""Where rows go: ledger, metrics, recent exchanges, the log; and a recording and traces where they are made.

One row, written once, before the client sees the end.
"""

from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.route.plan import Plan
from gateway.telemetry.exchange_log import ExchangeLog
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.trace_recorder import TraceRecorder
from gateway.telemetry.tracing import Tracing
from gateway.types import Request, Row


class OutcomeLog:
    """Writes the rows of clients' exchanges."""

    __slots__ = ("_ledger", "_log", "_metrics", "_recent", "_recorder", "_tracing")

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        recent: RecentExchanges,
        recorder: TraceRecorder | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._recent = recent
        self._recorder = recorder
        self._tracing = tracing
        self._log = ExchangeLog()

    def write(self, row: Row, plan: Plan | None, request: Request) -> None:
        """`plan` is the one that the row's exchange follows; None when the response cache answered."""
        self._ledger.append(row)
        self._metrics.record(row)
        slow = self._recent.add(row, plan)
        if row.last:
            self._log.closed(row, slow)
            if self._recorder is not None and row.outcome == "ok":
                self._recorder.answered(request, row)
        if self._tracing is not None:
            self._tracing.ended(row, request)
