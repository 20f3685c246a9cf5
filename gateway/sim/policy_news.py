"""The lines of a gateway's log about policies, for a user who edits them while the demo runs.

2026-11-01 10:00:00,000 ERROR gateway.policy.policies: policies not reloaded, ...  ─┐
policies/mine.yaml:3:3: unknown key ...                                         ─┴─> printed, the second line indented
2026-11-01 10:00:01,000 INFO gateway.state.store: ...                           ───> not printed
"""

import re
from pathlib import Path

READ_BYTES = 64 * 1024  # bytes per read
RECORD = re.compile(rb"\d{4}-\d\d-\d\d \S+ [A-Z]+ (\S+): (.*)")  # the supervisor's log format
SUBJECT = b"gateway.policy.policies"


class PolicyNews:
    """Reads a log from its beginning."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = 0
        self._is_subject = False  # whether the last record was about policies; continuation lines then are too

    def __repr__(self) -> str:
        return f"PolicyNews({str(self._log)!r}, {self._position})"

    def read(self) -> list[str]:
        """The new lines about policies, without time and level."""
        with self._log.open("rb") as log:
            log.seek(self._position)
            whole, newline, _ = log.read(READ_BYTES).rpartition(b"\n")
        self._position += len(whole) + len(newline)
        lines = (self._line(line) for line in whole.splitlines())
        return [line.decode(errors="replace") for line in lines if line]

    def _line(self, line: bytes) -> bytes:
        if record := RECORD.fullmatch(line):
            self._is_subject = record[1] == SUBJECT
            return record[2] if self._is_subject else b""
        return b"   " + line if self._is_subject else b""
