"""What passes between an exchange and its shell: events in, commands out.

Each attempt has one timer at a time: the hedge delay (`hedge`), the first-token timeout (`first_token`) or the idle
timeout (`gap`). Setting one replaces the one before. `total` also bounds the `gap` phase as a whole. `keepalive`,
`retry`, `queue` and `place` are the exchange's own, as attempt 0; `place` is no timer: an endpoint that the exchange
waits for may have a free place.
"""

from math import inf
from typing import Literal

import msgspec

from gateway.route.plan import Choice
from gateway.route.slot_queue import Places
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.types import Failure, HedgeResult

TimerName = Literal["hedge", "first_token", "gap", "total", "keepalive", "retry", "queue", "place"]


# --- events -----------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, gc=False):
    now: float


class FirstToken(msgspec.Struct, frozen=True, gc=False):
    """Non-empty content, reasoning, refusal or tool call arrived from attempt `attempt`."""

    attempt: int
    now: float


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The attempt's answer ended with a finish reason."""

    attempt: int
    now: float


class Failed(msgspec.Struct, frozen=True, gc=False):
    """`resumable`: what the client has of the answer is text that another host could continue."""

    attempt: int
    failure: Failure
    now: float
    resumable: bool = False


class Expired(msgspec.Struct, frozen=True, gc=False):
    """A timer expired. `resumable` as for Failed."""

    timer: TimerName
    attempt: int
    now: float
    resumable: bool = False


class ClientLeft(msgspec.Struct, frozen=True, gc=False):
    now: float


Event = Started | FirstToken | Finished | Failed | Expired | ClientLeft


# --- commands ---------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send the request to this endpoint; it has `tried.timeout` seconds to its first token, or to the end of an answer
    that is requested whole.

    `hedge`: while another attempt, which is late, goes on. `continues`: the text that the client has so far.
    """

    attempt: int
    choice: Choice
    tried: TrackedAttempt
    hedge: bool = False
    continues: bool = False


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """`gap` counts from the last progress; with it comes `total`, the seconds from now to the end of the answer."""

    timer: TimerName
    attempt: int
    seconds: float
    total: float = inf


class Enqueue(msgspec.Struct, frozen=True, gc=False):
    """Wait for `place`, or for the timer `queue`, which also expires where too many wait."""

    line: Places


class Shed(msgspec.Struct, frozen=True, gc=False):
    """Every endpoint is at its limit: nothing was sent, and nothing will be."""


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Close the attempt's connection and stop its timer; nothing more may come from it."""

    attempt: int


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The attempt's answer has begun, and is held until it is whole: the client sees nothing of it yet."""

    attempt: int


class Commit(msgspec.Struct, frozen=True, gc=False):
    """The answer is this attempt's: status and headers leave if they have not, and its bytes flow. A second Commit
    of an exchange continues the text of the first."""

    attempt: int


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """The client has waited long: status and headers leave, and a comment, or white space before a whole answer."""


class Probe(msgspec.Struct, frozen=True, gc=False):
    """What looks like the account's fault is confirmed by one minimal request, apart from this exchange."""

    choice: Choice
    failure: Failure


class Book(msgspec.Struct, frozen=True, gc=False):
    """The attempt is over: write its row, learn from it, and call `Exchange.paid` with its cost.

    `failure` None and `cancelled` False is success.
    """

    attempt: int
    failure: Failure | None = None
    cancelled: bool = False
    hedge: HedgeResult = ""


class Complete(msgspec.Struct, frozen=True, gc=False):
    """The client has everything."""

    attempt: int


class Break(msgspec.Struct, frozen=True, gc=False):
    """The answer ended badly after its commit: a machine-readable error event, never a clean end."""

    attempt: int
    failure: Failure


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """No endpoint answered: every failure in order, (endpoint id, failure)."""

    failures: tuple[tuple[str, Failure], ...]


class Abandon(msgspec.Struct, frozen=True, gc=False):
    """The client is gone."""


Command = (
    Send
    | SetTimer
    | Enqueue
    | Shed
    | Cancel
    | Begin
    | Commit
    | KeepAlive
    | Probe
    | Book
    | Complete
    | Break
    | GiveUp
    | Abandon
)
