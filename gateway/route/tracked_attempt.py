"""One attempt as the fleet sees it: what was expected when it was sent, and what it measured."""

import msgspec

from gateway.route.cost import Demand, Parts
from gateway.route.endpoint_state import EndpointState
from gateway.types import Request, Usage

MEASURES_SPEED = 16  # output tokens from which the speed of an answer means something


class TrackedAttempt(msgspec.Struct, gc=False):
    """One attempt as the fleet follows it: its endpoint and request, and what is expected of it.

    `timeout` is the first-token timeout in seconds, or that of the whole answer where the host does not stream
    (`streams`). `empties` are the earlier attempts of the exchange that ended without content: this one's answer says
    whether they should have had some. `sent_at`, `ticket` and `in_flight`, how many the endpoint then had in flight for
    all workers, are filled in by `Fleet.sent`.
    """

    state: EndpointState
    request: Request
    demand: Demand
    parts: Parts
    timeout: float
    hedge: bool = False
    streams: bool = True
    empties: tuple["TrackedAttempt", ...] = ()
    sent_at: float = 0.0
    ticket: int = 0
    in_flight: float = 0


class Observation(msgspec.Struct, frozen=True, gc=False):
    """What one attempt measured: tokens, seconds to the first token, output tokens per second, whether its tool calls
    were well formed; None where it measured nothing. `empty`: the answer had no content. `deltas` with content came, or
    a whole answer of `size` bytes."""

    usage: Usage
    ttft: float | None
    speed: float | None
    tools: bool | None = None
    empty: bool = False
    deltas: int = 0
    size: int = 0
