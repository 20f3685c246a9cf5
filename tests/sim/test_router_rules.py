import pytest

from gateway.types import Price
from tests.sim.test_baselines import replayed
from tests.sim.world import host, row

CHEAP = host("cheap", price=Price(0.1, 0.1))
DEAR = host("dear", price=Price(0.3, 0.6, 0.01))


def test_the_cheapest_takes_all() -> None:
    assert replayed("cheapest", [row(float(t)) for t in range(20)], [DEAR, CHEAP]).tally.shares()["cheap"] == 1.0


def test_the_square_of_the_price_draws() -> None:
    dollars = [0.1 * 3_600, 0.3 * 3_500 + 0.6 * 100]
    weights = [one**-2 for one in dollars]
    found = replayed("1/price^2", [row(float(t)) for t in range(2_000)], [CHEAP, DEAR]).tally.shares()["cheap"]
    assert found == pytest.approx(weights[0] / sum(weights), abs=0.05)


def test_the_fewest_in_flight_first_and_the_price_breaks_ties() -> None:
    apart = [row(60.0 * t) for t in range(10)]
    assert replayed("least-in-flight", apart, [DEAR, CHEAP]).tally.shares()["cheap"] == 1.0
    together = [row(0.0) for _ in range(10)]
    assert replayed("least-in-flight", together, [DEAR, CHEAP]).tally.shares()["cheap"] == 0.5


def test_sticky_goes_where_most_is_cached_even_when_it_is_dear() -> None:
    engine = replayed("sticky", [row(float(t), 1, 2, 3) for t in range(50)], [CHEAP, DEAR])
    assert max(engine.tally.shares().values()) == 1.0
    assert replayed("sticky", [row(0.0, 1), row(10.0, 1)], [CHEAP, DEAR]).tally.completed == 2  # too short to stick to


def test_cost_aware_stickiness_counts_the_re_reads_that_are_usual() -> None:
    fresh = [row(10.0 * t, 10 * t, 10 * t + 1) for t in range(50)]
    assert replayed("sticky-cost", fresh, [CHEAP, DEAR]).tally.shares()["cheap"] == 1.0
    repeated = [row(10.0 * t, 1, 2, 3, 4, 5, 6) for t in range(50)]
    shares = replayed("sticky-cost", repeated, [CHEAP, DEAR]).tally.shares()
    assert shares["dear"] > 0.8  # they cost next to nothing there
