"""A line in the log for each exchange that failed or was slow.

    gateway.exchanges: gen-1764547200-0a1b failed: server 502 after 2 attempts, 3.21 s; balanced, novita/fp8

Never a prompt, an answer or a key: of the host's words only what `host_words.py` lets through. At most BURST lines at
once and RATE in a second; the next line says how many were left out.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from gateway.telemetry.figure_definitions import SUCCESS
from gateway.telemetry.host_words import said
from gateway.types import Row, counts

RATE = 5.0  # lines per second
BURST = 20.0  # lines

_log = logging.getLogger("gateway.exchanges")


def has_failed(row: Row) -> bool:
    """Whether this row closes an exchange that counts against the success rate."""
    return row.outcome not in SUCCESS and counts(row.outcome)


class ExchangeLog:
    """One worker's lines."""

    __slots__ = ("_clock", "_left", "_left_out", "_since")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left = BURST
        self._since = clock()
        self._left_out = 0

    def __repr__(self) -> str:
        return f"<ExchangeLog {self._left:.0f} lines left, {self._left_out} left out>"

    def closed(self, row: Row, slow: bool) -> None:
        """Logs the row that closed its exchange, if it failed or was slow."""
        failed = has_failed(row)
        if (failed or slow) and self._may_log():
            fields = _fields(row, "failed" if failed else "slow", self._left_out)
            self._left_out = 0
            _log.warning(_line(fields), extra={"fields": fields})

    def _may_log(self) -> bool:
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._since) * RATE)
        self._since = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        return True


def _fields(row: Row, what: str, left_out: int) -> dict[str, Any]:
    """The fields of the JSON line."""
    fields = {
        "exchange": row.exchange,
        "what": what,
        "outcome": str(row.outcome),
        "status": row.client_status,
        "seconds": round(row.client_duration, 3),
        "ttft": None if row.client_ttft is None else round(row.client_ttft, 3),
        "attempts": row.attempt,
        "model": row.model,
        "policy": row.policy,
        "endpoint": row.endpoint or None,
        "tenant": row.tenant,
        "error": said(row.outcome, row.error),
        "left_out": left_out or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _line(fields: dict[str, Any]) -> str:
    """The same as text."""
    attempts = f"{fields['attempts']} {'attempt' if fields['attempts'] == 1 else 'attempts'}"
    first = f", first token after {fields['ttft']:.2f} s" if "ttft" in fields else ""
    parts = (
        f"{fields['exchange']} {fields['what']}: {fields['outcome']}, {fields['status']} to the client",
        f" after {attempts}, {fields['seconds']:.2f} s{first}; policy {fields['policy']}",
        f", endpoint {fields['endpoint']}" if "endpoint" in fields else "",
        f": {fields['error']}" if "error" in fields else "",
        f" ({fields['left_out']} more were left out)" if "left_out" in fields else "",
    )
    return "".join(parts)
