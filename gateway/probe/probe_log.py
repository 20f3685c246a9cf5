"""The rows of probes: in the ledger and the metrics as any other, and for the one who sent the probe.

They are not among the recent exchanges, and not in a recording: both are about clients.
"""

from collections.abc import Callable

from gateway.route.plan import Plan
from gateway.telemetry.ledger import Ledger
from gateway.types import Request, Row


class ProbeLog:
    """`count` takes the row for the metrics. `rows`: the last row of each exchange under way."""

    __slots__ = ("_count", "_ledger", "rows")

    def __init__(self, ledger: Ledger, count: Callable[[Row], None]) -> None:
        self._ledger = ledger
        self._count = count
        self.rows: dict[str, Row | None] = {}

    def __repr__(self) -> str:
        return f"<ProbeLog {len(self.rows)} under way>"

    def write(self, row: Row, plan: Plan | None, request: Request) -> None:
        self._ledger.append(row)
        self._count(row)
        if row.exchange in self.rows:
            self.rows[row.exchange] = row
