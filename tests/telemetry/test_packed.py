"""The layout of a string is what stores hold: it may grow at the end of a part, and nothing may move."""

from struct import pack

import pytest

from gateway.telemetry.packed import (
    AMOUNTS,
    COUNT_PLACES,
    COUNTS,
    FAULT_NAMES,
    FAULT_PLACES,
    HEAD_SIZE,
    SIZE,
    SKETCHES,
    Packed,
    increments,
    sample_place,
)
from gateway.types import Fault


def written(amounts: dict[int, int]) -> bytes:
    return b"".join(pack(">Q", amounts.get(number, 0)) for number in range(SIZE // 8))


def test_the_layout_stays() -> None:
    assert (SIZE, HEAD_SIZE) == (1_456, 160)
    assert AMOUNTS[:8] == (
        *("prompt", "cached", "completion", "reasoning", "cost", "prompt_cost", "prompt_saved", "response_saved"),
    )
    assert (COUNT_PLACES["requests"], COUNT_PLACES["tool_calls_ok"]) == (12, 21)
    assert (FAULT_PLACES["malformed"], FAULT_PLACES["empty"]) == (28, 41)
    assert [sample_place(sketch, 0.0) for sketch in ("ttft", "latency", "throughput")] == [52, 152, 272]
    assert [sample_place(sketch, 1e9) for sketch in ("ttft", "latency", "throughput")] == [151, 271, 351]


def test_every_fault_has_a_place() -> None:
    assert set(FAULT_NAMES) == set(Fault)


def test_there_is_room_for_more() -> None:
    assert len(AMOUNTS) <= 12
    assert len(COUNTS) <= 16
    assert len(FAULT_NAMES) <= 24


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_read_where_it_is_written(name: str) -> None:
    found = Packed.of(written(increments((), [COUNT_PLACES[name]] * 3)))
    assert {one: found[one] for one in COUNTS if found[one]} == {name: 3}


@pytest.mark.parametrize("name", FAULT_NAMES)
def test_a_fault_is_read_where_it_is_written(name: str) -> None:
    found = Packed.of(written(increments((), [FAULT_PLACES[name]] * 2)))
    assert {one: found.fault(one) for one in FAULT_NAMES if found.fault(one)} == {name: 2}


@pytest.mark.parametrize("sketch", SKETCHES)
def test_a_sample_is_read_where_it_is_written(sketch: str) -> None:
    found = Packed.of(written(increments((), [sample_place(sketch, 2.5)])))
    assert {one: found.samples(one) for one in SKETCHES if found.samples(one)} == {sketch: 1}
    assert found.quantiles(sketch) == [pytest.approx(2.5, rel=0.1)] * 5


def test_amounts_are_read_in_their_order() -> None:
    found = Packed.of(written(increments(range(1, 9), ())))
    assert [found[name] for name in AMOUNTS] == list(range(1, 9))


def test_a_head_alone_can_be_read() -> None:
    whole = written(increments((7,), [COUNT_PLACES["ok"]]))
    head = Packed.of(whole[:HEAD_SIZE])
    assert (head["prompt"], head["ok"], head.samples("ttft")) == (7, 1, 0)


def test_totals() -> None:
    one, other = (Packed.of(written(increments((amount,), [COUNT_PLACES["ok"]]))) for amount in (3, 2**60))
    total = Packed.total([one, other, one])
    assert (total["prompt"], total["ok"]) == (6 + 2**60, 3)
    assert Packed.total(())["requests"] == 0


def test_what_a_part_leaves() -> None:
    whole, part = (Packed.of(written(increments((amount,), [COUNT_PLACES["ok"]] * 2))) for amount in (10, 4))
    assert (whole.without(part)["prompt"], whole.without(part)["ok"]) == (6, 0)
    assert part.without(whole)["prompt"] == 0
