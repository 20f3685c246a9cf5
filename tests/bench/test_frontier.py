"""The search for the greatest load finds the step where a curve crosses a limit, and loads of a fixed size are that."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import steady
from bench.frontier import TRIES, Curve, Scale, highest
from bench.host import mock_host
from bench.load import Call, Load, run
from bench.process import processors
from bench.report import report
from bench.steady import Arrivals, Held

PATIENCE = 60.0  # seconds; a busy machine is no failure here


@given(last=st.integers(0, 60), edge=st.integers(-1, 60))
def test_the_highest_step_that_holds_is_found(last: int, edge: int) -> None:
    seen: list[int] = []

    def holds(step: int) -> bool:
        seen.append(step)
        return step <= edge

    assert highest(holds, last) == min(edge, last)
    assert len(seen) <= (last + 1).bit_length()
    assert all(0 <= step <= last for step in seen)


def test_a_step_that_seems_too_much_is_tried_again_and_its_least_delay_counts() -> None:
    delays = iter([0.009, 0.004, 0.003])
    curve = Curve(lambda _: next(delays))

    assert not curve.under(3, 0.002)
    assert curve.under(3, 0.003), "no fourth try"
    assert curve.tries == {3: [0.009, 0.004, 0.003]}
    assert len(curve.tries[3]) == TRIES


def test_a_search_ends_with_its_time() -> None:
    now = iter([0.0, 1.0, 2.0])
    curve = Curve(lambda _: math.inf, until=1.5, clock=lambda: next(now))

    assert not curve.under(0, 1.0)
    assert len(curve.tries[0]) == 2


def test_four_steps_double_a_load() -> None:
    scale = Scale("any", least=15, last_step=8, seconds=1.0)
    assert [scale.size(step) for step in (0, 4, 8)] == [15, 30, 60]


def test_requests_that_come_at_a_rate_are_all_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "BACKLOG", PATIENCE)
    monkeypatch.setattr(steady.Arrivals, "grace", PATIENCE)
    with mock_host(tmp_path, processors()[1], False) as host:
        result = run(Arrivals(Call(host.port, {}), 98, 0.25))
        requests = host.counters()["requests"]

    assert (result.errors, result.first_error) == (0, "")
    assert len(result.latencies) == requests == math.ceil(98 * 0.25)


def test_each_event_of_a_stream_says_how_long_it_took(tmp_path: Path) -> None:
    with mock_host(tmp_path, processors()[1], False) as host:
        host.behave(chunks=5, interval=0.001, stamped=True)
        result = run(Load(Call(host.port, {}, stream=True), 3, seconds=PATIENCE, requests=3))

    assert (result.errors, result.first_error) == (0, "")
    assert len(result.ways) == 3 * 5
    assert all(way > 0 for way in result.ways)


def test_held_streams_open_within_a_quarter_of_the_run(tmp_path: Path) -> None:
    with mock_host(tmp_path, processors()[1], False) as host:
        result = run(Held(Call(host.port, {}, stream=True), 10, 4.0))
    assert (result.errors, len(result.latencies)) == (0, 10)


def test_the_report_says_at_least_where_the_harness_ends() -> None:
    record = {"round": 1, "scenario": "rates", "errors": 0, "end": 4000, "under_1_ms": 2500, "under_5_ms": 4000}
    printed = report([{"subject": "ours", **record}])

    assert "| subject | requests/s, 1 ms | requests/s, 5 ms |" in printed
    assert "| ours | 2,500 | ≥ 4,000 |" in printed


def test_what_was_not_measured_has_no_row_and_no_table() -> None:
    absent = {"subject": "rolter", "round": 1, "scenario": "start", "failed": "not installed"}
    assert report([absent]) == "### Left out, and errors\n\n- rolter, start: not installed\n"


def test_growth_is_given_by_thousand_requests() -> None:
    grown = {"gateway_warm_mb": 60.0, "gateway_after_mb": 80.0, "gateway_kb_per_1000": 200.0}
    printed = report([{"subject": "ours", "round": 1, "scenario": "growth", **grown}])
    assert "| ours | 60 | 80 | 200 |" in printed
