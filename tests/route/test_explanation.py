"""A plan in one line."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.explanation import LISTED, LONGEST_LINE, explanation, summary
from gateway.route.fleet import Fleet
from gateway.types import Limits, Pick, Price, Require
from tests.route.world import CHEAPEST, endpoint, plan, priced, request

SAMPLE = replace(CHEAPEST, pick=Pick("sample", edge=1.0, explore=0.0))


def test_a_plan_in_one_line() -> None:
    two = Fleet([endpoint("a/fp8"), endpoint("b/fp8", limits=Limits(concurrency=0)), endpoint("c", context=10)])
    line = summary(plan(two, policy=SAMPLE)).decode("ascii")
    picked, first, second, out = line.split("; ")
    assert picked == "only"
    assert first.startswith("a/fp8 $0.000")
    assert first.endswith("s 0%")
    assert second.startswith("b/fp8 ")
    assert out == "not c (context)"


def test_what_was_given_up_is_said() -> None:
    busy = Fleet([endpoint("a", limits=Limits(concurrency=0))])
    assert summary(plan(busy, policy=SAMPLE)).startswith(b"only, relaxed: ")


def test_nothing_left_in_one_line() -> None:
    nobody = plan(priced(a=1.0), policy=replace(SAMPLE, require=Require(only=("z",))))
    assert summary(nobody) == b"none; not a (require.only)"


@given(st.lists(st.text("abcé/", min_size=1, max_size=200), unique=True, max_size=30))
def test_the_line_is_short_whatever_the_names(names: list[str]) -> None:
    line = summary(plan(Fleet(endpoint(name) for name in names), policy=SAMPLE))
    assert len(line) <= LONGEST_LINE
    assert line.isascii()
    assert b"\n" not in line


def test_the_line_has_the_odds_of_a_draw_and_each_ones_dollars_seconds_and_cached_share() -> None:
    made = plan(priced(a=1.0, b=1.5), request(prompt_tokens=1_000), replace(SAMPLE, pick=replace(SAMPLE.pick, edge=1)))
    first, second = made.ranked
    odds, parts = made.odds[first.endpoint.id], first.parts
    assert 0.5 < odds < 1
    figures = f"{first.endpoint.id} ${parts.usd:.6f} {parts.seconds:.1f}s 0%"
    assert summary(made).decode().split("; ")[:2] == [f"sample {odds:.0%}", figures]
    assert second.endpoint.id in summary(made).decode()


def test_the_line_lists_ten_of_a_kind_and_is_cut_where_it_would_be_too_long() -> None:
    many = Fleet([endpoint(f"h{n:02}") for n in range(12)] + [endpoint(f"x{n:02}", context=10) for n in range(12)])
    line = summary(plan(many, policy=SAMPLE)).decode()
    assert line.count("$") == line.count("(context)") == LISTED
    long = summary(plan(Fleet(endpoint("h" * 200 + str(n)) for n in range(9)), policy=SAMPLE))
    assert (len(long), long[-4:]) == (LONGEST_LINE, b"h...")


# --- as JSON --------------------------------------------------------------------------------------------------


def test_a_plan_as_json() -> None:
    two = Fleet([endpoint("a", limits=Limits(concurrency=0)), endpoint("b"), endpoint("c", context=10)])
    made = plan(two, policy=CHEAPEST)
    shown = explanation(made, "m")
    demand = made.demand
    assert {name: shown[name] for name in ("model", "policy", "prompt_tokens", "expected_output_tokens")} == {
        "model": "m",
        "policy": "cheapest",
        "prompt_tokens": 1_000,
        "expected_output_tokens": 350,
    }
    assert (shown["picked_by"], shown["relaxed"], shown["expected_rereads"]) == ("only", None, demand.rereads)
    assert [(one["endpoint"], one["odds"]) for one in shown["ranked"]] == [("b", 1.0), ("a", 0.0)]
    assert [one["behind_because"] for one in shown["ranked"]] == [None, "limits.concurrency: 0 of 0 in use"]
    assert shown["dropped"] == [
        {"endpoint": "c", "rule": "context", "detail": "about 1,000 prompt tokens, takes 9"},
    ]
    usd = (0.25 * 1_000 + 0.5 * 350) / 1e6
    best = shown["ranked"][0]
    assert (best["input_usd"], best["output_usd"]) == pytest.approx((0.25e-3, 0.5 * 350 / 1e6))
    assert best["expected_usd"] == pytest.approx(usd)


def test_odds_are_those_of_the_draw() -> None:
    made = plan(priced(a=1.0, b=1.5, c=9.0), policy=SAMPLE)
    odds = {one["endpoint"]: one["odds"] for one in explanation(made, "m")["ranked"]}
    assert odds == made.odds | {"c": 0.0}
    assert sum(odds.values()) == pytest.approx(1)


def test_the_parts_of_a_score_add_up() -> None:
    """Price, time, quality, re-reads, toll and risk: what the page stacks."""
    two = Fleet([endpoint("a/fp8"), endpoint("b/fp8", price=Price(1.0, 2.0))])
    shown = explanation(plan(two), "m")
    for one in shown["ranked"]:
        parts = ("expected_usd", "time_usd", "quality_usd", "reread_usd", "toll_usd", "risk_usd")
        assert sum(one[part] for part in parts) == pytest.approx(one["score_usd"])
        assert one["time_usd"] > 0
        assert one["risk_usd"] > 0
