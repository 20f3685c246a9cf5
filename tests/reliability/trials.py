"""Every trial by its name: how it runs, and which lines of the table its record gives."""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability import bodies, budget, chaos, failover, fuzz, overload, rolling, soak
from tests.reliability.page import Line

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """`run` returns the record, as JSON; `lines` are the targets with what was measured."""

    run: Callable[[argparse.Namespace, Path], Awaitable[Record]]
    lines: Callable[[Record], list[Line]]


TRIALS: Mapping[str, Trial] = {
    "chaos": Trial(chaos.trial, chaos.lines),
    "soak": Trial(soak.trial, soak.lines),
    "overload": Trial(overload.trial, overload.lines),
    "bodies": Trial(bodies.trial, bodies.lines),
    "budget": Trial(budget.trial, budget.lines),
    "failover": Trial(failover.trial, failover.lines),
    "rolling": Trial(rolling.trial, rolling.lines),
    "fuzz": Trial(fuzz.trial, fuzz.lines),
}
