from math import inf, isnan

import pytest

from gateway.sim.replay_log import WINDOW_REQUESTS, WINDOW_SECONDS, Log
from gateway.types import Usage


def log(*asked: str, every: float = 1.0) -> Log:
    """One request each `every` seconds, to these hosts."""
    made = Log(len(asked), ["a", "b"])
    for number, host in enumerate(asked):
        made.arrived.append(number * every)
        made.sent(number, host, 0.5, 2.0)
        made.answered(number, host, 0.1 * number)
        made.booked(number, 2.0, 3.0, Usage(600, 0, 400, 0, "host"), good=True)
    return made


def test_figures_are_of_the_requests_that_arrived_in_the_window() -> None:
    made = log("a", "a", "b", "b")
    assert made.share("b", 1.0, 3.0) == 0.5
    assert made.share("b", 10.0, 20.0) == 0.0
    assert made.quantile(0.5, 1.0, 4.0) == pytest.approx(0.2)
    assert made.spent(0.0, 3.0) == 6.0
    assert made.price(0.0, inf) == pytest.approx(2_000)
    assert isnan(made.price(10.0, 20.0))
    assert isnan(made.quantile(0.5, 10.0, 20.0))


def test_dollars_are_all_that_was_spent_on_a_request() -> None:
    made = Log(1, ["a"])
    made.arrived.append(0.0)
    made.booked(0, 1.0, 9.0, Usage(), good=False)
    made.booked(0, 2.0, 3.0, Usage(10, 0, 5, 0, "host"), good=True)
    assert (made.usd[0], made.actual_usd[0], made.actual_seconds[0], made.tokens[0]) == (3.0, 2.0, 3.0, 15)


def test_who_never_got_a_first_token_has_waited() -> None:
    made = Log(3, ["a"])
    made.arrived.extend([0.0, 1.0, 2.0])
    made.answered(0, "a", 14.0)
    made.answered(1, "a", 16.0)
    assert made.waited(15.0, 0.0, inf) == 2


class TestUntil:
    def test_a_host_has_left_when_from_then_on_it_gets_less(self) -> None:
        made = log(*["a"] * 100, *["b"] * 100)
        left = made.until_below("a", 0.2, 50.0)
        assert left == pytest.approx(100 - 50 - 0.2 * WINDOW_REQUESTS, abs=1.0)
        assert made.until_above("b", 0.5, 50.0) == pytest.approx(100 - 50 - 0.5 * WINDOW_REQUESTS, abs=1.0)

    def test_a_window_has_many_requests_and_many_seconds(self) -> None:
        """Some requests elsewhere do not make a host leave."""
        made = log(*(["a"] * 48 + ["b"] * 2) * 20, every=0.01)
        assert made.until_below("a", 0.2, 0.0) is None
        few = log(*["b"] * (WINDOW_REQUESTS - 1), every=WINDOW_SECONDS)
        assert few.until_below("a", 0.2, 0.0) is None

    def test_too_late_is_never(self) -> None:
        made = log(*["a"] * 100, *["b"] * 100)
        assert made.until_below("a", 0.2, 0.0, end=50.0) is None
