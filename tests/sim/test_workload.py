import gzip
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.sim.workload import MOST_ROWS, TICK, Scale, TraceRow, chat_request, messages, read_trace, spread

hashes = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def common(one: list[Any], other: list[Any]) -> int:
    """How many leading items are the same."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


@given(hashes, hashes, st.integers(0, 5))
def test_prompts_share_messages_exactly_as_rows_share_hashes(one: list[int], other: list[int], count: int) -> None:
    assert common(messages(one, count), messages(other, count)) == common(one, other)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers())
def test_rows_spread_within_their_tick_and_keep_their_order(ticks: list[int], seed: int) -> None:
    rows = [TraceRow(tick * TICK, index, 1, (index,)) for index, tick in enumerate(sorted(ticks))]
    placed = spread(rows, seed)
    assert [row.input_tokens for row in placed] == list(range(len(rows)))
    assert all(before.t <= after.t for before, after in pairwise(placed))
    assert all(0 <= after.t - before.t <= TICK for before, after in zip(rows, placed, strict=True))


def test_the_sample_is_real_traffic() -> None:
    rows = read_trace()
    assert len(rows) == 600
    assert rows[0] == TraceRow(0.0, 6758, 500, tuple(range(14)))
    assert {row.prefix_hashes[0] for row in rows} == {0}
    assert all(len(row.prefix_hashes) == -(-row.input_tokens // 512) for row in rows)


def test_a_row_becomes_a_request_of_its_scale() -> None:
    body = chat_request(TraceRow(0.0, 1500, 300, (0, 7, 8)), "m", Scale(chunk_words=3, output=0.5))
    assert [message["role"] for message in body["messages"]] == ["system", "user", "user"]
    assert body["messages"][1]["content"].startswith("Note 7: ")
    assert body["max_tokens"] == 150


def write(path: Path, *lines: bytes) -> Path:
    with gzip.open(path, "wb") as file:
        file.write(b"\n".join(lines))
    return path


ROW = b'{"t": 0, "input_tokens": 1, "output_tokens": 1, "prefix_hashes": [0]}'


def test_no_more_rows_are_read_than_the_limit_and_the_bound(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.gz", *[ROW] * (MOST_ROWS + 5))
    assert len(read_trace(path, limit=3)) == 3
    assert len(read_trace(path, limit=10 * MOST_ROWS)) == MOST_ROWS


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"t": 0}',
        ROW.replace(b"[0]", b"[" + b"0," * 50_000 + b"0]"),
        ROW.replace(b"[0]", b"[-1]"),
        ROW.replace(b"[0]", b"[18446744073709551616]"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"trace\.gz:2: not a trace row"):
        read_trace(write(tmp_path / "trace.gz", ROW, line))


def test_an_empty_trace_has_no_rows(tmp_path: Path) -> None:
    assert spread(read_trace(write(tmp_path / "trace.gz"))) == []
