"""What fails now on this machine, by part of the gateway: for `/health/ready`, the metrics and the log.

    ledger ──failed(part, error)──┐                      ┌──> failing: part -> why       until `works(part)`
    metrics, policies, tasks ... ─┴──> Conditions ───────┼──> count(part)                each time
                                                         └──> log                        when it begins and ends

Requests are served meanwhile: nothing here refuses one.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

TASKS: Final = ("flush", "gossip", "policies", "recording", "shipper")  # of a worker, in the background
# Parts, and what follows while one fails.
PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ledger": "rows are being lost",
        "metrics": "other workers' figures are not up to date",
        "policies": "the policies in force stay",
        "recording": "requests are missing in the recording",
        "shipper": "rows wait in the ledger",
    }
    | {f"task {name}": "it is started again" for name in TASKS}
)

_log = logging.getLogger("gateway")


class Conditions:
    """One worker's. `count` is called with the part for each failure."""

    def __init__(self, count: Callable[[str], None] = lambda part: None) -> None:
        self._count = count
        self._failing: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Conditions({', '.join(self._failing) or 'all parts work'})"

    @property
    def failing(self) -> Mapping[str, str]:
        """The parts that fail, each with the reason."""
        return MappingProxyType(self._failing)

    def failed(self, part: str, error: Exception, *, trace: bool = False) -> None:
        """A part has failed, once more perhaps; `trace`: the log shows where."""
        reason = _words(error)
        if part not in self._failing:
            _log.error("%s fails, %s: %s", part, PARTS[part], reason, exc_info=error if trace else None)
        self._failing[part] = reason
        self._count(part)

    def works(self, part: str) -> None:
        if self._failing.pop(part, None) is not None:
            _log.warning("%s works again", part)

    @contextmanager
    def noted(self, part: str) -> Iterator[None]:
        """What is done inside works, or its OSError is noted and goes no further."""
        try:
            yield
        except OSError as error:
            self.failed(part, error)
        else:
            self.works(part)


def _words(error: Exception) -> str:
    """What went wrong, and with which file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
