from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.toll import SLACK_TOKENS
from gateway.sim.baselines import RULES
from gateway.sim.oracle import floor
from gateway.types import Price
from tests.sim.test_baselines import replayed
from tests.sim.world import host, row

CHEAP = host("cheap", price=Price(0.1, 0.1, 0.01))
DEAR = host("dear", price=Price(0.3, 0.6, 0.01))


def test_without_a_cap_it_is_the_cheapest_host_with_every_hit() -> None:
    found = floor([row(0.0, 1, 2), row(1.0, 1, 2)], [CHEAP, DEAR])
    dollars = 0.1 * (2 * 3_600 - 1_024) + 0.01 * 1_024
    assert found.blended_price == pytest.approx(dollars / 7_200)
    assert found.cache_hit == pytest.approx(1_024 / 7_000)


def test_a_cap_sends_the_rest_elsewhere() -> None:
    rows = [row(float(t), tokens=100_000, output=0) for t in range(100)]
    share = 0.5 + SLACK_TOKENS / 10_000_000
    least = share * 0.1 + (1 - share) * 0.3
    assert 0.9999 * least < floor(rows, [CHEAP, DEAR], cap=0.5).blended_price <= least


def test_a_host_that_never_hits_is_no_bargain() -> None:
    rows = [row(0.0, 1, 2), row(1.0, 1, 2)]
    assert floor(rows, [replace(CHEAP, hit_efficiency=0.0)]).blended_price == pytest.approx(0.1)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.integers(1, 90_000)), min_size=1, max_size=40),
    st.sampled_from(sorted(RULES)),
    st.sampled_from([0.5, 1.0]),
)
def test_no_assignment_pays_less(asked: list[tuple[int, int, int]], rule: str, cap: float) -> None:
    """Under a cap a rule may be a request over it, and then pay less: so much is granted."""
    rows = [row(float(t), 0, 1 + name, 5 + name, tokens=tokens) for t, name, tokens in sorted(asked)]
    paid = replayed(rule, rows, [CHEAP, DEAR], cap).tally.figures().blended_price
    total = sum(one.input_tokens + one.output_tokens for one in rows)
    over = max(one.input_tokens + one.output_tokens for one in rows) / total
    assert paid is not None
    assert floor(rows, [CHEAP, DEAR], min(1.0, cap + over)).blended_price <= paid + 1e-9
