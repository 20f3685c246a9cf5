"""The log on standard error: lines for people, or one JSON object per line.

{"time": "2026-11-29T10:00:00.123Z", "level": "warning", "logger": "gateway.exchanges", "pid": 7, "message": "...", ...}
"""

import logging
import sys
import time
from typing import Any

import orjson

from gateway.config import LogFormat

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WORKER_TEXT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"


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
    text = logging.Formatter(WORKER_TEXT if is_worker else TEXT)
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
