"""Where rows go: ledger, metrics, recent exchanges. One row, written once, before the client sees the end."""

from gateway.proxy.recent import Recent
from gateway.route.plan import Plan
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import Metrics
from gateway.types import Row


class Books:
    """The only writer of rows."""

    __slots__ = ("_ledger", "_metrics", "_recent")

    def __init__(self, ledger: Ledger, metrics: Metrics, recent: Recent) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._recent = recent

    def write(self, row: Row, plan: Plan | None) -> None:
        """`plan` is the one that the row's exchange follows; None when the response cache answered."""
        self._ledger.append(row)
        self._metrics.record(row)
        self._recent.add(row, plan)
