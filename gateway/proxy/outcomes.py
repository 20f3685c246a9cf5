"""Where rows go: ledger, metrics, recent exchanges, and a recording where one is made.

One row, written once, before the client sees the end.
"""

from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.route.plan import Plan
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.trace_recorder import TraceRecorder
from gateway.types import Request, Row


class OutcomeLog:
    """The only writer of rows."""

    __slots__ = ("_ledger", "_metrics", "_recent", "_recorder")

    def __init__(
        self, ledger: Ledger, metrics: Metrics, recent: RecentExchanges, recorder: TraceRecorder | None = None
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._recent = recent
        self._recorder = recorder

    def write(self, row: Row, plan: Plan | None, request: Request) -> None:
        """`plan` is the one that the row's exchange follows; None when the response cache answered."""
        self._ledger.append(row)
        self._metrics.record(row)
        self._recent.add(row, plan)
        if self._recorder is not None and row.last and row.outcome == "ok":
            self._recorder.answered(request, row)
