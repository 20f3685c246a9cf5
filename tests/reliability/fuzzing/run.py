"""Runs targets: a few hundred executions each in the tests, or as many as fit into the time of `make fuzz`.

for each target in turn: a batch with the next seed ──crash?──> the smallest input that still crashes, in the record
"""

import time
import traceback
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.reliability.fuzzing.files import CONFIG_FILES, POLICY_FILES
from tests.reliability.fuzzing.hosts import HOSTS
from tests.reliability.fuzzing.http import HTTP
from tests.reliability.fuzzing.stored import STORED
from tests.reliability.fuzzing.target import Check, Target

TARGETS = (HTTP, HOSTS, POLICY_FILES, CONFIG_FILES, STORED)
LONGEST = 5.0  # seconds of CPU time for one execution: what other processes take does not count
MOST_CRASHES = 5  # of a target, after which it is left alone


@dataclass(slots=True)
class Tally:
    """What came of one target."""

    executions: int = 0
    seconds: float = 0.0
    crashes: list[str] = field(default_factory=list)


def run(targets: Iterable[Target], minutes: float, first_seed: int = 0) -> dict[str, Tally]:
    """All targets in turn until the time is over."""
    until = time.monotonic() + minutes * 60
    tallies: dict[str, Tally] = {}
    with ExitStack() as stack:
        checks = [(one, stack.enter_context(one.open())) for one in targets]
        number = first_seed
        while time.monotonic() < until and checks:
            for target, check in list(checks):
                tally = tallies.setdefault(target.name, Tally())
                batch(target, check, number, target.batch, tally)
                if len(tally.crashes) >= MOST_CRASHES:
                    checks.remove((target, check))
                if time.monotonic() >= until:
                    break
            number += 1
    return tallies


def batch(target: Target, check: Check, number: int, executions: int, tally: Tally) -> None:
    """Executions with one seed; a crash ends them, after its input was made small."""

    failed: list[Any] = [None]

    def counted(given_: Any) -> None:
        tally.executions += 1
        began = time.process_time()
        try:
            check(given_)
            took = time.process_time() - began
            assert took < LONGEST, f"took {took:.1f} s of CPU time"
        except Exception:
            failed[0] = given_  # the last one is the smallest
            raise

    quiet = settings(
        max_examples=executions,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )
    began = time.monotonic()
    try:
        seed(number)(quiet(given(target.inputs)(counted)))()
    except Exception as error:
        tally.crashes.append(described(error, failed[0]))
    tally.seconds += time.monotonic() - began


def described(error: Exception, given_: Any) -> str:
    """The error, where it was raised, and the input that raised it."""
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])
    return f"{type(error).__name__}: {error}\n{where}{given_!r}"[:6_000]
