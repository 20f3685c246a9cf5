"""What is usual among the endpoints of one model: the best guess about one of which nothing is known.

what is known of each endpoint, published or measured ──medians──> what is usual ──> the others' starting point
"""

from collections.abc import Collection, Iterable
from statistics import median
from typing import NamedTuple


class FleetMedians(NamedTuple):
    """Median seconds to the first token of a usual prompt of each size class, output tokens per second, shares.

    None where not known.
    """

    ttft: tuple[float | None, ...]
    speed: float | None = None
    uptime: float | None = None
    tools_ok: float | None = None


NO_PEERS = FleetMedians((None,) * 4)


def usual(known: Collection[FleetMedians]) -> FleetMedians:
    """The medians of what is known of each; at least one."""
    return FleetMedians(
        tuple(_median(times) for times in zip(*(one.ttft for one in known), strict=True)),
        _median(one.speed for one in known),
        _median(one.uptime for one in known),
        _median(one.tools_ok for one in known),
    )


def _median(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None
