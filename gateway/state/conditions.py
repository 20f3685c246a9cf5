"""Which parts of the gateway fail on this machine: for `/health/ready`, the metrics and the log.

    ledger ──failed(part, error)──┐                      ┌──> failing: part -> reason    until `works(part)`
    metrics, policies, tasks ... ─┴──> Conditions ───────┼──> count(part)                for each failure
                                                         └──> log                        when it begins and ends

Requests are still served: nothing here rejects one.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

TASKS: Final = (  # a worker's background tasks
    "connections",
    "flush",
    "gossip",
    "keys",
    "killed attempts",
    "limits",
    "loop lag",
    "page",
    "policies",
    "price sync",
    "prices",
    "probes",
    "recording",
    "shipper",
)
# Each part, and the consequence of its failure.
PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "attempts": "attempts under way would be missing from the ledger if this worker were killed",
        "keys": "the state folder lacks the latest changes of keys",
        "ledger": "rows wait in memory",
        "metrics": "the figures of other workers are not up to date",
        "policies": "the loaded policies stay in force",
        "prices": "the prices in force stay",
        "recording": "the recording lacks requests",
        "shipper": "rows wait in the ledger",
        "workers": "the others serve",
    }
    | {f"task {name}": "it is restarted" for name in TASKS}
)

_log = logging.getLogger("gateway")


class Conditions:
    """One worker's conditions. `count` is called with the part for each failure."""

    def __init__(self, count: Callable[[str], None] = lambda part: None) -> None:
        self._count = count
        self._failing: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Conditions({', '.join(self._failing) or 'all parts work'})"

    @property
    def failing(self) -> Mapping[str, str]:
        """The failing parts, each with its reason."""
        return MappingProxyType(self._failing)

    def failed(self, part: str, error: Exception, *, trace: bool = False) -> None:
        """Records a failure of a part, which may already be failing; `trace`: log the traceback."""
        reason = _reason(error)
        if part not in self._failing:
            _log.error("%s fails, %s: %s", part, PARTS[part], reason, exc_info=error if trace else None)
        self._failing[part] = reason
        self._count(part)

    def works(self, part: str) -> None:
        if self._failing.pop(part, None) is not None:
            _log.warning("%s works again", part)

    @contextmanager
    def noted(self, part: str) -> Iterator[None]:
        """The code inside works, or its OSError is recorded and suppressed."""
        try:
            yield
        except OSError as error:
            self.failed(part, error)
        else:
            self.works(part)


def _reason(error: Exception) -> str:
    """The error's message, with the file that it concerns."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
