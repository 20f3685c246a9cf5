"""What the fleet learns when an attempt is booked: the same for the live proxy and for a replay."""

from collections.abc import Callable

import msgspec

from gateway.route.fleet import Fleet, TrackedAttempt
from gateway.route.signals import Book
from gateway.types import Usage

SAYS_SPEED = 16  # output tokens from which the speed of an answer means something


class Observation(msgspec.Struct, frozen=True, gc=False):
    """What an attempt told by its end: tokens, seconds to the first one, tokens a second, whether its tool calls were
    well formed; None where nothing was; and whether the answer had no content."""

    usage: Usage
    ttft: float | None
    speed: float | None
    tools: bool | None = None
    empty: bool = False


def learn(
    fleet: Fleet, tried: TrackedAttempt, book: Book, heard: Observation, now: float, chance: Callable[[], float]
) -> None:
    """Tells the fleet how an attempt ended. `now` in seconds, `chance` draws from [0, 1).

    A hedge says nothing about the time to first token: it is heard to its end only where it was quick.
    """
    fleet.billed(tried, heard.usage)
    hedge = book.hedge not in ("", "beaten")
    ttft = None if hedge else heard.ttft
    if book.cancelled:
        fleet.released(tried, ttft is None and not hedge, now)
    elif book.failure is not None:
        fleet.failed(tried, book.failure, now, chance())
    else:
        fleet.succeeded(tried, heard.usage, ttft, heard.speed, now)
        if not heard.empty:
            for earlier in tried.empties:
                fleet.contradicted(earlier, now, chance())
        if heard.tools is not None:
            fleet.called_tools(tried, heard.tools, now)
