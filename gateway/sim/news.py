"""What a gateway's log says about policies, for the one who edits them while the demo runs.

2026-11-01 10:00:00,000 ERROR gateway.policy.policies: policies not reloaded, ...  ─┐
policies/mine.yaml:3:3: unknown key ...                                         ─┴─> told, the second line indented
2026-11-01 10:00:01,000 INFO gateway.state.store: ...                           ───> not told
"""

import re
from pathlib import Path

AT_ONCE = 64 * 1024  # bytes read in one look
RECORD = re.compile(rb"\d{4}-\d\d-\d\d \S+ [A-Z]+ (\S+): (.*)")  # as the supervisor formats it
SUBJECT = b"gateway.policy.policies"


class PolicyNews:
    """Reads a log from its beginning."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = 0
        self._told = False  # whether the last record was about policies: so are lines that continue it

    def __repr__(self) -> str:
        return f"PolicyNews({str(self._log)!r}, {self._position})"

    def read(self) -> list[str]:
        """The lines about policies since the last look, without time and level."""
        with self._log.open("rb") as log:
            log.seek(self._position)
            whole, newline, _ = log.read(AT_ONCE).rpartition(b"\n")
        self._position += len(whole) + len(newline)
        told = (self._line(line) for line in whole.splitlines())
        return [line.decode(errors="replace") for line in told if line]

    def _line(self, line: bytes) -> bytes:
        if record := RECORD.fullmatch(line):
            self._told = record[1] == SUBJECT
            return record[2] if self._told else b""
        return b"   " + line if self._told else b""
