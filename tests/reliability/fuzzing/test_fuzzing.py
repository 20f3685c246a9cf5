"""A short run of every target, the same each time; and a crash is found, made small and reported."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given

from tests.reliability.fuzzing.mutated import LONGEST, mutated_bytes, mutated_trees
from tests.reliability.fuzzing.run import TARGETS, Tally, batch, run
from tests.reliability.fuzzing.target import Check, Target

EXECUTIONS = {"http": 60, "hosts": 300, "policies": 60, "config": 40, "store": 200}


@pytest.mark.parametrize("target", [pytest.param(one, id=one.name) for one in TARGETS])
def test_no_crash(target: Target) -> None:
    tally = Tally()
    with target.open() as check:
        batch(target, check, 1, EXECUTIONS[target.name], tally)
    assert tally.crashes == []
    assert tally.executions >= EXECUTIONS[target.name] / 2


@contextmanager
def crashing() -> Iterator[Check]:
    def check(given: bytes) -> None:
        if b"!" in given:
            raise KeyError("an exclamation mark")

    yield check


CRASHING = Target("crashing", mutated_bytes([b"Hello there!", b"Hello"], [b"!"]), crashing)


def test_a_crash_is_reported_with_its_input() -> None:
    tally = Tally()
    with CRASHING.open() as check:
        batch(CRASHING, check, 0, 200, tally)
    (crash,) = tally.crashes
    assert crash.startswith("KeyError: 'an exclamation mark'")
    assert crash.endswith("b'Hello there!'")


def test_a_target_that_always_crashes_ends_a_run() -> None:
    found = run([CRASHING], minutes=1.0)
    assert len(found["crashing"].crashes) == 5


@given(mutated_bytes([b"abc"], [b"word"]), mutated_trees([{"a": [1, {"b": 2}]}], (7,), ("c",)))
def test_mutations_are_bounded_bytes_and_json(text: bytes, tree: Any) -> None:
    assert len(text) <= LONGEST
    json.dumps(tree)
