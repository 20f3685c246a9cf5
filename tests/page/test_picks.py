"""Where a typical request would go now, and why, in one sentence; looking changes nothing."""

from typing import Any

import pytest

from gateway.page.page_types import PolicyPick
from gateway.page.picks import pick
from gateway.route.explore import KEPT
from gateway.route.fleet import Fleet
from gateway.types import Pick, Policy, Price, Require, Score
from gateway.types.endpoint import DataFacts, Priors
from tests.route.world import HOUR, NOW, endpoint

CHEAP = Price(input=0.2, output=0.4)
DEAR = Price(input=0.4, output=0.8)
FAST = Priors(ttft_p50=0.2, throughput_p50=200.0)
SLOW = Priors(ttft_p50=2.0, throughput_p50=10.0)
BEST = Pick("best", explore=0.0)


def picked(fleet: Fleet, **fields: Any) -> PolicyPick:
    return pick(Policy("p", **fields), "m", fleet, NOW, HOUR)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet([endpoint("cheap/fp8", price=CHEAP, priors=SLOW), endpoint("fast/fp8", price=DEAR, priors=FAST)])


def test_the_cheapest_and_by_how_much(fleet: Fleet) -> None:
    found = picked(fleet, score=Score(value_of_time=0.0), pick=BEST)
    assert found.endpoint == "cheap/fp8"
    assert found.why.startswith("cheapest, $0.000")
    assert found.why.endswith("; 50% under the next")
    assert [one.endpoint for one in found.ranked] == ["cheap/fp8", "fast/fp8"]
    assert 2 * found.ranked[0].usd == pytest.approx(found.ranked[1].usd)


def test_the_faster_one_where_time_is_worth_more(fleet: Fleet) -> None:
    found = picked(fleet, score=Score(value_of_time=100.0), pick=BEST)
    assert found.endpoint == "fast/fp8"
    assert found.why.startswith("faster, ")
    assert found.why.endswith("100% more than cheap/fp8")


@pytest.mark.parametrize(
    ("how", "first", "words"),
    [
        (Pick("latency", explore=0.0), "fast/fp8", "fastest first token, "),
        (Pick("throughput", explore=0.0), "fast/fp8", "fastest output, 2"),
        (Pick("order", explore=0.0, order=("cheap/fp8",)), "cheap/fp8", "first in the policy's order"),
        (Pick("fixed", explore=0.0, endpoint="fast/fp8"), "fast/fp8", "the only one that may be used"),
    ],
)
def test_other_pickers_have_their_own_reason(fleet: Fleet, how: Pick, first: str, words: str) -> None:
    found = picked(fleet, pick=how)
    assert (found.endpoint, found.why[: len(words)]) == (first, words)


def test_a_policy_that_samples_says_how_often(fleet: Fleet) -> None:
    wide = Pick("sample", edge=10.0, explore=0.0)
    found = picked(fleet, score=Score(value_of_time=0.0), pick=wide)
    assert found.endpoint == "cheap/fp8"
    assert found.why.endswith("% of new prompts go there")


def test_those_that_a_rule_drops_are_named_with_it() -> None:
    private = endpoint("private/fp8", data=DataFacts(trains="no", zdr="yes"))
    found = picked(Fleet([endpoint("a/fp8"), private]), require=Require(zdr=True))
    assert (found.endpoint, found.why) == ("private/fp8", "the only one that may be used")
    assert [(one.endpoint, one.rule) for one in found.dropped] == [
        ("a/fp8", "require.zdr: zero data retention is unknown")
    ]
    none = picked(Fleet([endpoint("a/fp8")]), require=Require(zdr=True))
    assert (none.endpoint, none.why) == (None, "none can be used: require.zdr")
    assert picked(Fleet([])).why == "none is in use"


def test_one_that_is_set_back_comes_last_with_its_reason(fleet: Fleet) -> None:
    fleet.states["cheap/fp8"].breaker.trip(NOW, 0.0, "server")
    found = picked(fleet, score=Score(value_of_time=0.0), pick=BEST)
    assert (found.endpoint, found.why) == ("fast/fp8", "the only one that may be used")
    assert found.dropped[0].rule.startswith("breaker: open after server errors")
    fleet.states["fast/fp8"].breaker.trip(NOW, 0.0, "server")
    assert "though breaker: open after server errors" in picked(fleet, pick=BEST).why


def test_looking_changes_nothing(fleet: Fleet) -> None:
    """Not even where the policy has saved enough for an exploration: it shows the best, and saves on."""
    exploring = Policy("p", score=Score(value_of_time=0.0), pick=Pick("best", explore=0.5))
    explorer = fleet.explorers.of(exploring)
    assert explorer is not None
    explorer.saved, explorer.usual = KEPT, 1.0
    states = list(fleet.states.values())
    before = [(one.in_flight, one.recent, one.attempted) for one in states]
    for _ in range(3):
        assert pick(exploring, "m", fleet, NOW, HOUR).endpoint == "cheap/fp8"
    assert explorer.saved == KEPT
    assert [(one.in_flight, one.recent, one.attempted) for one in states] == before
    assert len(fleet.prefixes.matches((), {}, NOW)) == 0
