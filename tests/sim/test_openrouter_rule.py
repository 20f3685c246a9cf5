from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.openrouter_rule import EDGE, EXPLORE, shares
from gateway.sim.sim_host import FaultRates, Spread
from gateway.types import Price
from tests.sim.test_baselines import replayed
from tests.sim.world import host, row

LIST = host("list", price=Price(0.3, 0.6))
DISCOUNT = host("discount", price=Price(0.3, 0.6, 0.01), cache_ttl=1e4)
NEW = [row(1.0 * t, 10 * t, 10 * t + 1) for t in range(1_000)]  # every prompt is a new conversation
TALKS = [row(1.0 * t, *range(1 + t % 50, 500, 50)) for t in range(1_000)]  # of 50 conversations


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20))
def test_shares_are_those_of_a_whole_fall_with_the_total_and_never_vanish(totals: list[float]) -> None:
    found = shares(totals)
    assert sum(found) == pytest.approx(1.0)
    assert min(found) >= EXPLORE * 0.999
    by_total = [share for _, share in sorted(zip(totals, found, strict=True), key=lambda pair: (pair[0], -pair[1]))]
    assert by_total == sorted(by_total, reverse=True)


def test_inside_the_edge_the_share_falls_slowly_and_beyond_it_fast() -> None:
    best, near, edge, beyond = shares([1.0, 1 + EDGE / 4, 1 + EDGE, 1 + 2 * EDGE])
    assert near > 0.9 * best
    assert 0.3 * best < edge < 0.5 * best
    assert beyond < 0.05 * best


def test_the_cheaper_one_gets_nearly_all_and_the_others_are_explored() -> None:
    hosts = [host("cheap", price=Price(0.1, 0.1)), host("dear", price=Price(0.3, 0.6))]
    requests = replayed("openrouter", NEW * 3, hosts).tally.shares()
    assert requests["dear"] == pytest.approx(EXPLORE, abs=EXPLORE)


def test_what_counts_is_the_price_that_is_charged_not_the_one_that_is_listed() -> None:
    """The same list price; one gives hits, the other says that it does."""
    liar = replace(DISCOUNT, id="liar", hit_efficiency=0.0)
    assert replayed("openrouter", TALKS, [DISCOUNT, liar]).tally.shares()["discount"] > 0.9


def test_a_conversation_stays_where_it_had_a_hit() -> None:
    """Of two that are alike, each conversation keeps to one."""
    engine = replayed("openrouter", TALKS, [DISCOUNT, replace(DISCOUNT, id="twin")])
    assert 0.05 < engine.tally.shares()["twin"] < 0.95
    assert engine.tally.figures().cache_hit == pytest.approx(0.93, abs=0.03)  # all but the first turns of 50


@pytest.mark.parametrize(
    "worse",
    [
        {"ttft": 20.0},
        {"throughput": Spread(5.0, 5.0)},
        {"rates": FaultRates(0.0, 0.0, 0.3)},
        {"rates": FaultRates(0.3, 0.0, 0.0)},
    ],
    ids=["slow start", "slow", "cut", "limited"],
)
def test_time_and_failures_are_part_of_the_price(worse: dict[str, object]) -> None:
    hosts = [host("good"), host("worse", **worse)]
    assert replayed("openrouter", NEW, hosts).tally.shares()["worse"] < 0.1


def test_speed_may_cost_more() -> None:
    slow = host("slow", price=Price(0.2, 0.4), throughput=Spread(4.0, 4.0))
    fast = host("fast", price=Price(0.3, 0.6), throughput=Spread(100.0, 100.0))
    assert replayed("openrouter", NEW, [slow, fast]).tally.shares()["fast"] > 0.9


def test_a_retry_is_drawn_from_those_that_are_left_by_their_own_distances() -> None:
    """The best one fails always; of the others the near one is drawn, though both are far behind the best."""
    hosts = [
        host("best", price=Price(0.01, 0.01), rates=FaultRates(1.0, 0.0, 0.0)),
        host("near", price=Price(0.3, 0.3)),
        host("far", price=Price(0.6, 0.6)),
    ]
    shares = replayed("openrouter", NEW, hosts).tally.shares()
    assert shares["near"] > 0.95
