"""A plan in one line."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.route.explanation import LONGEST_LINE, summary
from gateway.route.fleet import Fleet
from gateway.types import Limits, Pick, Require
from tests.route.world import CHEAPEST, endpoint, plan, priced

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
