"""A row goes to the ledger, the metrics and the recent exchanges; to a recording only if it closes a good answer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.proxy.outcomes import OutcomeLog
from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.route.fleet import Fleet
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.trace_recorder import TraceRecorder
from gateway.types import Request, Row
from tests.route.world import plan
from tests.support.rows import cached_row, row

REQUEST = Request("gen-1", {}, "m", "p")


@pytest.mark.parametrize(
    ("one", "recorded"),
    [
        (row(), True),
        (row(last=False), False),
        (row(outcome="cut"), False),
        (row(outcome="cancelled", last=False), False),
        (cached_row(), False),
    ],
)
@pytest.mark.parametrize("records", [True, False])
def test_each_row_is_written_once_to_each(one: Row, recorded: bool, records: bool) -> None:
    written: list[Any] = []
    recent = RecentExchanges()
    log = OutcomeLog(
        cast(Ledger, SimpleNamespace(append=lambda row: written.append(("ledger", row)))),
        cast(Metrics, SimpleNamespace(record=lambda row: written.append(("metrics", row)))),
        recent,
        cast(TraceRecorder, SimpleNamespace(answered=lambda *about: written.append(about))) if records else None,
    )
    made = plan(Fleet([]), REQUEST)
    log.write(one, made, REQUEST)
    assert written == [("ledger", one), ("metrics", one), *([(REQUEST, one)] if records and recorded else [])]
    assert [(past.closing, past.plan) for past in recent] == ([(one, made)] if one.last else [])
