import pytest

from gateway.sim.tally import Tally
from gateway.types import Price, Usage
from tests.sim.world import host

HOSTS = [host("a", price=Price(1.0, 2.0, 0.5)), host("b", price=Price(3.0, 4.0))]


def test_nothing_is_known_of_an_empty_replay() -> None:
    figures = Tally(HOSTS).figures()
    assert {figures.blended_price, figures.ttft_p50, figures.success, figures.cut_later, figures.busiest} == {None}


def test_two_prices_never_mixed() -> None:
    tally = Tally(HOSTS)
    tally.attempted(HOSTS[0], Usage(1_000, 600, 500, 0, "host"), 0, good=True, lost=False)
    figures = tally.figures()
    assert figures.effective_input_price == pytest.approx((400 * 1.0 + 600 * 0.5) / 1_000)
    assert figures.blended_price == pytest.approx((400 * 1.0 + 600 * 0.5 + 500 * 2.0) / 1_500)
    assert figures.cache_hit == 0.6


def test_what_failed_is_paid_by_what_did_not() -> None:
    tally = Tally(HOSTS)
    tally.attempted(HOSTS[0], Usage(1_000, 0, 0, 0, "host"), 0, good=True, lost=False)
    assert tally.attempted(HOSTS[1], Usage(1_000, 0, 0, 0, "host"), 0, good=False, lost=True) == 3_000_000_000
    figures = tally.figures()
    assert figures.blended_price == pytest.approx(1.0 + 3.0)
    assert figures.hedge_spend == pytest.approx(0.75)
    assert tally.shares() == {"a": 0.5, "b": 0.5}


def test_quantiles_are_of_what_clients_waited() -> None:
    tally = Tally(HOSTS)
    for tenth in range(1, 101):
        tally.answered(tenth / 10)
    tally.given_up, tally.broken, tally.hedges = 100, 5, 20
    figures = tally.figures()
    assert (figures.ttft_p50, figures.ttft_p95, figures.ttft_p99) == (5.0, 9.5, 9.9)
    assert (figures.success, figures.cut_later, figures.hedges) == (0.5, 0.05, 0.1)


def test_predictions_are_compared_with_what_came() -> None:
    tally = Tally(HOSTS)
    tally.compared((1.0, 5.0), (0.5, 4.0))
    tally.compared((2.0, 4.0), (1.5, 8.0))
    figures = tally.figures()
    assert (figures.predicted_usd_bias, figures.predicted_seconds_bias) == (1.5, 0.75)
