"""What the exchanges of one worker share: clocks, chance, timers, the way to hosts, and where outcomes go.

app ──builds──> Runtime ──> Proxy, and each LiveExchange, Journal and AccountProbe
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.keys.limiter import Limiter
from gateway.proxy.timer_wheel import TimerWheel
from gateway.proxy.under_way import UnderWay
from gateway.route.fleet import Fleet
from gateway.route.hedge import Budgets
from gateway.route.plan import Plan
from gateway.telemetry.sent_attempts import SentAttempts
from gateway.types import Request, Row
from gateway.upstream.redactor import Redactor
from gateway.upstream.transport.address import Destination


class RowWriter(Protocol):
    """Where the rows of attempts go."""

    def write(self, row: Row, plan: Plan | None, request: Request) -> None: ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """`clock` is the loop's, in seconds; `wall_clock` in unix time; `rng` draws from [0, 1).

    `fleets` by model id, `destinations` by endpoint id. `redactor` rewrites hosts' failures. `probing` are the
    endpoints with an account probe under way. `limiter` is None where no limits apply. `trace_headers` returns the
    header lines of an attempt, by its number; None where traces are off.
    """

    fleets: Mapping[str, Fleet]
    destinations: Mapping[str, Destination]
    redactor: Redactor
    wheel: TimerWheel
    outcomes: RowWriter
    under_way: UnderWay
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    rng: Callable[[], float]
    sent: SentAttempts | None = None  # None: nothing records attempts before they are sent
    budgets: Budgets = field(default_factory=Budgets)
    probing: set[str] = field(default_factory=set)
    limiter: Limiter | None = None
    trace_headers: Callable[[Request, int], bytes] | None = None
