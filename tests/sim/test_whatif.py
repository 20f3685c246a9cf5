import json
from dataclasses import fields, replace

import pytest

from gateway.policy.policies import Policies
from gateway.sim.fleetfile import read_fleet
from gateway.sim.tally import Figures
from gateway.sim.whatif import Setup, arrivals, interval, whatif
from gateway.sim.workload import read_trace
from tests.sim.world import CHEAPEST, host, row

ROWS = read_trace(limit=150)
REAL = read_fleet("real")


def test_an_interval_is_students() -> None:
    assert interval([]) is None
    assert interval([None, None]) is None
    assert interval([3.0, None]) == (3.0, None)
    mean, half = interval([1.0, 2.0, 3.0]) or (0.0, None)
    assert (mean, half) == (2.0, pytest.approx(4.30 / 3**0.5, rel=1e-3))
    assert interval([float(one % 2) for one in range(20)]) == (0.5, pytest.approx(2.09 * 0.513 / 20**0.5, rel=0.01))


def test_arrivals_start_at_nought_keep_their_order_and_are_scaled() -> None:
    setup = Setup([row(30.0, 1), row(30.0, 2), row(33.0, 3), row(50.0, 4)], REAL, time_scale=2.0)
    rows = arrivals(setup, 0)
    assert [one.prefix_hashes for one in rows] == [(1,), (2,), (3,), (4,)]
    assert 0.0 == rows[0].t < rows[1].t < 1.5
    assert rows != arrivals(setup, 1)


def test_every_subject_meets_the_same_luck() -> None:
    """A policy beside itself under another name has the same figures, whatever was replayed before."""
    twin = replace(CHEAPEST, name="twin")
    report = whatif(Setup(ROWS, REAL, seeds=2), [CHEAPEST, Policies().current["nitro"], twin], ["litellm-shuffle"])
    first, _, last, _ = report.outcomes
    assert (first.figures, first.shares) == (last.figures, last.shares)


def test_a_cap_is_for_policies_and_baselines_alike() -> None:
    policies = [Policies().current["floor"]]
    free, capped = (whatif(Setup(ROWS, REAL, cap, seeds=1), policies, ["cheapest"]) for cap in (1.0, 0.3))
    for one, other in zip(free.outcomes, capped.outcomes, strict=True):
        assert one.figures["busiest"] > other.figures["busiest"]  # type: ignore[operator]


def test_no_router_beats_the_floor() -> None:
    calm = [replace(one, rates=host("x").rates, incidents=None) for one in REAL]
    report = whatif(Setup(ROWS, calm, seeds=1), [CHEAPEST], ["litellm-shuffle", "sticky-cost"])
    prices = [one.figures["blended_price"] for one in report.outcomes]
    assert all(price and price.mean >= report.floor.blended_price for price in prices)


def test_the_report_is_plain_json() -> None:
    told: list[float] = []
    report = whatif(Setup(ROWS, REAL, cap=0.5, seeds=2), [CHEAPEST], ["cheapest"], told.append)
    plain = json.loads(json.dumps(report.as_json()))
    assert (plain["requests"], plain["seeds"], plain["cap"]) == (150, 2, 0.5)
    assert [(one["name"], one["kind"]) for one in plain["outcomes"]] == [
        ("cheapest", "policy"),
        ("cheapest", "baseline"),
    ]
    assert plain["outcomes"][0]["figures"].keys() == {field.name for field in fields(Figures)}
    assert plain["outcomes"][0]["figures"]["blended_price"].keys() == {"mean", "half"}
    assert plain["outcomes"][0]["shares"].keys() == {one.id for one in REAL}
    assert plain["floor"].keys() == {"blended_price", "cache_hit"}
    assert told[-1] == 1.0
    assert told == sorted(told)
