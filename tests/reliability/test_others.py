"""The other trials, small: they run, and their records have what the page needs."""

from pathlib import Path

import pytest

from tests.reliability import bodies, budget, failover, overload, rolling
from tests.reliability.budget import Budget, BudgetResult
from tests.reliability.client import Answer
from tests.reliability.failover import FailoverResult
from tests.reliability.overload import Overload, OverloadResult
from tests.reliability.rolling import RollingResult


async def test_bodies_without_a_key(tmp_path: Path) -> None:
    record = await bodies.run(tmp_path, clients=4, size=1 << 20)
    assert record["statuses"] == {"401": 4}
    assert bodies.lines(record)[0].measured.startswith(f"{record['above_idle_mb']:.1f} MB")


async def test_overload(tmp_path: Path) -> None:
    record = (await overload.run(Overload(1.0, 0.5, at_once=2, alone=1), tmp_path)).record() | {"rate": 2.0}
    assert record["requests"] == 2
    assert record["alone_p50_s"] >= 2.0
    assert record["rss_peak_mb"] >= record["rss_idle_mb"] > 0
    assert len(overload.lines(record)) == 3


def test_what_an_overload_counts() -> None:
    answers = [
        Answer(1, 0.0, status=200, end="done", seconds=2.2),
        Answer(2, 0.0, status=503, end="error", seconds=0.01),
    ]
    result = OverloadResult([Answer(0, 0.0, status=200, end="done", seconds=2.0)], answers, 50_000_000, 90_000_000)
    record = result.record() | {"rate": 240.0}
    assert [line.kept for line in overload.lines(record)] == [True, True, True]
    assert [line.kept for line in overload.lines(record | {"shed_p99_s": 0.06, "accepted_p95_s": 2.5})] == [
        True,
        False,
        False,
    ]


def test_what_is_over_a_budget() -> None:
    result = BudgetResult(
        Budget(), [Answer(1, 0.0, status=200, end="done"), Answer(2, 0.0, status=402, error="budget_exceeded")]
    )
    line = result.account.lines["equal"]
    line.attempts, line.hosts, line.ledger = 500, 1_010_000_000_000, 1_010_000_000_000
    record = result.record()
    assert record["overshoot_usd"] == pytest.approx(0.01)
    assert [one.kept for one in budget.lines(record)] == [True, True]
    line.hosts += 30_000_000_000
    assert not budget.lines(result.record())[0].kept


def test_what_a_failover_must_keep() -> None:
    before, after = Answer(1, 0.0, end="done", seconds=0.01), Answer(2, 0.0, end="done", seconds=0.1)
    good = FailoverResult("cluster", [before, after], killed_after=1, ledger_usd=0.5, store_usd=0.5).record()
    late = FailoverResult("sentinel", [before, Answer(2, 0.0, end="cut", seconds=0.2)], killed_after=1).record()
    kept = [line.kept for line in failover.lines({"cluster": good, "sentinel": late})]
    assert kept == [True, True, True, False, False, False]


def test_what_a_rolling_restart_must_keep() -> None:
    result = RollingResult(requests=10, ends=[1.5])
    assert [line.kept for line in rolling.lines(result.record())] == [True]
    result.failed["APIConnectionError"] += 1
    assert [line.kept for line in rolling.lines(result.record())] == [False]
