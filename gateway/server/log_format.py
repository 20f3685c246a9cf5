"""The log on standard error: lines for people, or one JSON object per line.

{"time": "2026-11-29T10:00:00.123Z", "level": "warning", "logger": "gateway.exchanges", "pid": 7, "message": "...", ...}
"""

import logging
import re
import sys
import time
from typing import Any

import orjson

from gateway.config import LogFormat

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # also of bidirectional text
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WORKER_TEXT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"


class TextLines(logging.Formatter):
    """A record as a line. Control characters of the message are escaped, because a host or a client may have written
    them: they could forge a line, or move a terminal's cursor. Line breaks stay in messages that have them as such."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        unsafe = _CONTROL_IN_LINES if "\n" in str(record.msg) else _CONTROL
        record.message = unsafe.sub(lambda found: ascii(found[0])[1:-1], record.message)
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """A record as a JSON object, with the `fields` of those that have them."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_to_stderr(form: LogFormat, *, is_worker: bool = False) -> None:
    """Logs of this process from level INFO; `is_worker`: lines of several processes go to the same place."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextLines(WORKER_TEXT if is_worker else TEXT)
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
