"""Where rows go: the ledger first, then the metrics. One row, written once, before the client sees the end."""

from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import Metrics
from gateway.types import Row


class Books:
    """The only writer of rows."""

    __slots__ = ("_ledger", "_metrics")

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics

    def write(self, row: Row) -> None:
        self._ledger.append(row)
        self._metrics.record(row)
