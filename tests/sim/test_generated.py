from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, takewhile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.blocks import BLOCK
from gateway.sim.generated import HEAD_BLOCKS, LARGEST, SYSTEM_BLOCKS, Quantiles, agent_sessions, short_prompts
from gateway.sim.workload import TraceRow

AGENTS = agent_sessions(1)
SHORT = short_prompts(1)


def quantiles(values: Sequence[float]) -> list[float]:
    """p10, p50, p90."""
    ordered = sorted(values)
    return [ordered[int(len(ordered) * share)] for share in (0.1, 0.5, 0.9)]


def conversations(rows: Sequence[TraceRow]) -> list[list[TraceRow]]:
    """Each one's turns: they share the block behind the system prompt."""
    found = defaultdict(list)
    for row in rows:
        found[row.prefix_hashes[HEAD_BLOCKS - 1]].append(row)
    return list(found.values())


def shared(before: TraceRow, after: TraceRow) -> float:
    """Share of the later prompt that the earlier one had."""
    pairs = zip(before.prefix_hashes, after.prefix_hashes, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return BLOCK * same / after.input_tokens


TURNS = [pair for turns in conversations(AGENTS) for pair in pairwise(turns)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([len(turns) for turns in conversations(AGENTS)], [6, 37, 99], id="turns"),
        pytest.param([after.t - before.t for before, after in TURNS], [7, 15, 95], id="pauses"),
        pytest.param([row.input_tokens for row in AGENTS], [34_000, 82_000, 121_000], id="prompts"),
        pytest.param([row.output_tokens for row in AGENTS], [101, 204, 776], id="answers"),
        pytest.param([shared(*pair) for pair in TURNS], [0.91, 0.99, 1.0], id="shared"),
        pytest.param(
            [grown for before, after in TURNS if (grown := after.input_tokens - before.input_tokens) > 0],
            [177, 632, 3_591],
            id="growth",
        ),
        pytest.param([row.input_tokens for row in SHORT], [207, 1_020, 2_735], id="short prompts"),
        pytest.param([row.output_tokens for row in SHORT], [54, 129, 424], id="short answers"),
    ],
)
def test_quantiles_are_as_stated(values: Sequence[float], expected: list[float]) -> None:
    assert quantiles(values) == pytest.approx(expected, rel=0.15)


def test_agent_sessions_are_as_many_as_stated_and_share_their_system_prompt() -> None:
    assert 6_000 < len(AGENTS) < 7_500
    assert len(conversations(AGENTS)) == 160
    assert len({row.prefix_hashes[:SYSTEM_BLOCKS] for row in AGENTS}) == 1
    assert all(len(row.prefix_hashes) == -(-row.input_tokens // BLOCK) for row in AGENTS)
    assert max(row.input_tokens for row in AGENTS) <= LARGEST
    assert sum(shared(*pair) < 0.5 for pair in TURNS) > 50  # contexts that were rewritten


def test_short_prompts_come_at_their_rate_and_share_nothing() -> None:
    assert len(SHORT) / 3600 == pytest.approx(5.5, rel=0.05)
    assert {row.prefix_hashes for row in SHORT} == {()}


@pytest.mark.parametrize("generate", [agent_sessions, short_prompts])
def test_a_seed_fixes_everything_and_rows_are_sorted(generate: type[list[TraceRow]]) -> None:
    rows = generate(3)
    assert rows == generate(3) != generate(4)
    assert [row.t for row in rows] == sorted(row.t for row in rows)
    assert all(row.input_tokens > 0 and row.output_tokens > 0 for row in rows)


@given(st.integers(0, 1_000))
def test_nothing_is_drawn_outside_the_quantiles_given(seed: int) -> None:
    assert 3 <= Quantiles({0.1: 3, 0.5: 7, 0.9: 50}).draw(Random(seed)) <= 50
