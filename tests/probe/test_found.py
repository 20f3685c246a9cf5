"""In a fleet of ten, the host that was made worse is found, and no other: within the samples and dollars of
docs/probes.md, over 20 seeds. The other hosts make a mistake in one answer of a hundred."""

from typing import NamedTuple

import pytest

from gateway.probe import fingerprint
from gateway.probe.canaries import CANARIES
from gateway.sim.demofleet import FLEET
from gateway.sim.flaws import Flaws
from gateway.types import PICO
from tests.probe.lab import Lab

WORSE = "sim-streamlake/fp8"
USUAL = Flaws(tools=0.01, wrong=0.01, schema=0.01, thinking=0.01, other=0.01)
SEEDS = range(20)
EACH_ROUND = [canary for canary in CANARIES if canary.every == 1]


class Found(NamedTuple):
    rounds: int
    usd: float
    drifting: set[tuple[str, str]]


def found(flaws: Flaws, seed: int, most: int) -> Found:
    """The state when the test says drift for the first time, or after `most` rounds."""
    hosts = {host.id: USUAL for host in FLEET} | {WORSE: flaws}
    lab = Lab(FLEET, EACH_ROUND, seed, hosts)
    rounds = 0
    while rounds < most and not lab.drifting():
        rounds += 1
        lab.probe(fingerprint.prompt(lab.rng))
    return Found(rounds, lab.spent / PICO, lab.drifting())


@pytest.mark.parametrize(
    ("canary", "flaws", "rounds", "usd"),
    [
        ("tool_call", Flaws(tools=0.3), 60, 0.20),
        ("json", Flaws(schema=0.3), 60, 0.20),
        ("arithmetic", Flaws(wrong=0.3), 60, 0.20),
        ("thinking", Flaws(thinking=1.0), 6, 0.02),
        ("fingerprint", Flaws(other=1.0), 6, 0.02),
    ],
)
def test_the_host_that_is_worse_is_found_and_no_other(canary: str, flaws: Flaws, rounds: int, usd: float) -> None:
    all_found = [found(flaws, seed, rounds) for seed in SEEDS]
    assert {endpoint for one in all_found for endpoint, _ in one.drifting} == {WORSE}
    assert all((WORSE, canary) in one.drifting for one in all_found)
    assert max(one.usd for one in all_found) <= usd


def test_a_sound_fleet_is_left_alone() -> None:
    for seed in SEEDS:
        assert found(USUAL, seed, 24).drifting == set()


def test_a_claimed_context_that_is_not_there_is_found() -> None:
    """The other canaries do not reach it."""
    [context] = [canary for canary in CANARIES if canary.name == "context"]
    short = Lab(FLEET, [context], 0, {WORSE: Flaws(context=0.5)})
    for record in short.records.values():
        record.rounds = context.every - 1
    short.probe(None)
    wrong = {name: one.canaries["context"].mistake for name, one in short.records.items() if "context" in one.canaries}
    assert wrong.pop(WORSE).startswith("refused: The context is 64000 tokens long")
    assert set(wrong.values()) == {""}
