"""Every trial by its name: how it runs, and which lines of the table its record gives."""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability import bodies, budget, chaos, failover, fuzz, overload, rolling, soak
from tests.reliability.page import Line

Record = dict[str, Any]
SHORT = 900.0  # seconds
SLOWEST = 50.0  # requests per second of a soak


@dataclass(frozen=True, slots=True)
class Trial:
    """`run` returns the record, as JSON; `lines` are the targets with what was measured; `within` are the seconds after
    which a run is given up."""

    run: Callable[[argparse.Namespace, Path], Awaitable[Record]]
    lines: Callable[[Record], list[Line]]
    within: Callable[[argparse.Namespace], float] = lambda _: SHORT


TRIALS: Mapping[str, Trial] = {
    "chaos": Trial(chaos.trial, chaos.lines, lambda options: options.minutes * 60 + SHORT),
    "soak": Trial(soak.trial, soak.lines, lambda options: (1 + soak.WARM) * options.requests / SLOWEST + SHORT),
    "overload": Trial(overload.trial, overload.lines),
    "bodies": Trial(bodies.trial, bodies.lines),
    "budget": Trial(budget.trial, budget.lines),
    "failover": Trial(failover.trial, failover.lines),
    "rolling": Trial(rolling.trial, rolling.lines),
    "fuzz": Trial(fuzz.trial, fuzz.lines, lambda options: options.minutes * 60 + SHORT),
}
