"""A toll holds an endpoint to its share; the limit behind it is never passed."""

from math import e
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.toll import (
    FOR_NEW,
    MOST,
    MOST_POLICIES,
    SLACK_REQUESTS,
    SLACK_TOKENS,
    TOLL_REQUESTS,
    TokenCounts,
    Toll,
    Tolls,
)
from gateway.types import Cap, Policy

LONG = Cap(0.3, 1e9)  # everything so far counts
USD = 0.002  # what a request of 10,000 tokens costs


def sent(toll: Toll, *endpoints: str, tokens: float = 10_000.0, now: float = 0.0) -> Toll:
    for endpoint in endpoints:
        toll.sent(endpoint, tokens, USD * tokens / 10_000, now)
    return toll


# --- the toll ---------------------------------------------------------------------------------------------------


def test_it_rises_while_an_endpoint_is_above_its_share_and_falls_while_it_is_below() -> None:
    toll = sent(Toll(LONG), "a")
    first = toll.rates["a"]
    second = sent(toll, "a").rates["a"]
    assert 0 < first < second
    assert sent(toll, "b").rates["a"] < second


def test_an_endpoint_at_or_below_its_share_pays_nothing() -> None:
    toll = sent(Toll(LONG), "a", *"bcdefg" * 20)
    assert "a" not in toll.rates


def test_fifty_requests_above_the_share_cost_as_much_again() -> None:
    toll = sent(Toll(Cap(0.5, 1e9)), *"a" * 100)
    assert toll.rates["a"] == pytest.approx(USD / 10_000)


def test_it_is_bounded_where_nothing_else_is_left() -> None:
    toll = sent(Toll(LONG), *"a" * 5_000)
    assert toll.rates["a"] == pytest.approx(MOST * USD / 10_000)
    assert "a" not in sent(toll, *"bcd" * 400).rates, "and soon paid off"


def test_a_free_fleet_has_tolls_of_nothing() -> None:
    toll = Toll(LONG)
    toll.sent("a", 10_000, 0.0, 0.0)
    assert toll.rates == {"a": 0.0}


def test_a_toll_in_figures() -> None:
    """A share of a quarter: what is sent above it counts 50 usual requests, here of 15,000 tokens and $0.005."""
    toll = Toll(Cap(0.25, 1e9))
    toll.sent("a", 10_000, 0.002, 0.0)
    toll.sent("b", 20_000, 0.008, 0.0)
    usual = 0.005 / 15_000
    assert toll.rates == pytest.approx({"a": usual * 2_500 / 750_000, "b": usual * 15_000 / 750_000})
    assert toll.own(0.0) == TokenCounts(
        Cap(0.25, 1e9), {"a": 10_000, "b": 20_000}, {"a": 2_500, "b": 15_000}, 15_000, 0.005
    )


def test_a_toll_that_is_paid_off_exactly_is_gone() -> None:
    assert sent(Toll(Cap(0.5, 1e9)), "a", "b").rates.keys() == {"b"}


def test_the_usual_request_is_that_of_the_last_five_hundred() -> None:
    toll = sent(Toll(LONG), *"a" * 600)
    assert sent(toll, "a", tokens=20_000).own(0.0).size == pytest.approx(10_000 + 10_000 / 500)


def test_the_smallest_requests_have_tolls_too() -> None:
    toll = Toll(Cap(0.5, 1e9))
    toll.sent("a", 1.0, 1e-6, 0.0)
    assert toll.rates["a"] == pytest.approx(1e-6 * 0.5 / TOLL_REQUESTS)
    nothing = Toll(Cap(0.5, 1e9))
    nothing.sent("a", 0.0, 1e-6, 0.0)
    assert nothing.rates == {}


costs = st.lists(st.floats(0.3, 1.0), min_size=4, max_size=8)


@given(costs, st.integers(0, 99))
def test_it_settles_where_the_endpoint_has_its_share(prices: list[float], seed: int) -> None:
    """Each request goes where price and toll are the least."""
    toll, random = Toll(LONG), Random(seed)
    names = [f"host-{number}" for number in range(len(prices))]
    for _ in range(3_000):
        tokens = random.uniform(1_000, 20_000)
        best = min(
            zip(prices, names, strict=True), key=lambda one: (one[0] * 1e-6 + toll.rates.get(one[1], 0.0), one[1])
        )
        toll.sent(best[1], tokens, best[0] * tokens * 1e-6, 0.0)
    assert max(toll.share(name) for name in names) <= 0.3 + MOST * TOLL_REQUESTS / 3_000


# --- the limit --------------------------------------------------------------------------------------------------


def test_an_endpoint_is_full_when_one_more_would_pass_its_share_and_the_slack() -> None:
    toll = sent(Toll(LONG), *"a" * 50)
    room = SLACK_TOKENS / 0.7 - 500_000  # its share of what there is, and of itself
    assert toll.full(room - 1, 0.0) == []
    assert toll.full(room + 1, 0.0) == ["a"]


def test_what_reaches_the_limit_exactly_is_not_full() -> None:
    toll = sent(Toll(Cap(0.5, 1e9)), *"a" * 100)
    assert toll.full(0.0, 0.0) == []
    assert toll.full(1.0, 0.0) == ["a"]


def test_it_is_full_for_new_prompts_a_little_sooner() -> None:
    toll = sent(Toll(LONG), *"a" * 50)
    room = FOR_NEW * SLACK_TOKENS / 0.7 - 500_000
    assert toll.full(room - 1, 0.0, FOR_NEW) == []
    assert toll.full(room + 1, 0.0, FOR_NEW) == ["a"]


def test_the_slack_is_twenty_requests_where_they_are_large() -> None:
    toll = sent(Toll(Cap(0.0001, 1e9)), *"a" * 20, tokens=100_000)
    assert SLACK_REQUESTS * 100_000 > SLACK_TOKENS
    assert toll.full(0.0, 0.0) == []
    assert toll.full(10_000.0, 0.0) == ["a"]


def test_tokens_count_for_about_a_window() -> None:
    toll = sent(Toll(Cap(0.3, 600.0)), *"a" * 100)
    assert toll.full(0.0, 0.0) == ["a"]
    assert toll.full(0.0, 600.0) == []
    sent(toll, *"b" * 100, now=600.0)
    assert toll.share("a") == pytest.approx(1 / (1 + e))


def test_a_very_long_silence_is_survived() -> None:
    toll = sent(Toll(Cap(0.3, 1.0)), "a", tokens=1e7)
    assert toll.full(1.0, 1e9) == []
    assert toll.share("a") == 0
    assert sent(toll, "b", now=1e9).own(1e9).tokens == {"a": 0, "b": 10_000}
    toll.full(0.0, 2e9)
    assert sent(toll, "b", now=2e9).own(2e9).tokens == {"a": 0, "b": 10_000}


def test_an_endpoint_that_was_sent_nothing_has_no_share() -> None:
    assert Toll(LONG).share("a") == 0
    assert sent(Toll(LONG), "b").share("a") == 0


def test_a_correction_weighs_as_much_as_its_request_however_long_it_has_run() -> None:
    later = 100 * 600.0
    toll = sent(Toll(Cap(0.5, 600.0)), "a", "b", now=later)
    toll.corrected("a", 10_000.0, later)
    assert toll.share("a") == pytest.approx(2 / 3)


def test_what_was_expected_is_corrected_by_what_came() -> None:
    toll = sent(Toll(LONG), "a", "b")
    toll.corrected("a", 20_000.0, 0.0)
    assert toll.share("a") == pytest.approx(0.75)
    toll.corrected("a", -1e9, 0.0)
    assert toll.share("a") == 0, "never less than nothing"


requests = st.lists(
    st.tuples(st.sampled_from("abcde"), st.floats(1.0, 200_000.0), st.floats(0.0, 300.0)), min_size=1, max_size=200
)


@given(requests, st.floats(0.05, 0.95), st.sampled_from([10.0, 600.0, 1e9]))
def test_one_that_keeps_away_from_the_full_never_passes_the_cap(
    history: list[tuple[str, float, float]], share: float, window: float
) -> None:
    toll, now = Toll(Cap(share, window)), 0.0
    loads: dict[str, float] = {}
    total = 0.0
    for name, tokens, pause in history:
        now += pause
        fades = e ** (-pause / window)
        loads, total = {one: load * fades for one, load in loads.items()}, total * fades
        if name in toll.full(tokens, now):
            continue
        toll.sent(name, tokens, 1e-6 * tokens, now)
        loads[name] = loads.get(name, 0.0) + tokens
        total += tokens
        assert loads[name] <= share * total + max(SLACK_TOKENS, SLACK_REQUESTS * 200_000) + 1
        if max(one[1] for one in history) <= SLACK_TOKENS / SLACK_REQUESTS:
            assert loads[name] <= share * total + SLACK_TOKENS + 1
        assert all(rate >= 0 for rate in toll.rates.values())


# --- by policy --------------------------------------------------------------------------------------------------


def test_a_policy_without_a_cap_has_no_toll() -> None:
    assert Tolls().of(Policy("p")) is None


def test_what_was_booked_outlives_a_reload_of_the_policy_but_not_a_changed_cap() -> None:
    tolls = Tolls()
    toll = tolls.of(Policy("p", cap=Cap(0.3)))
    assert tolls.of(Policy("p", about="changed", cap=Cap(0.3))) is toll
    assert tolls.of(Policy("other", cap=Cap(0.3))) is not toll
    assert tolls.of(Policy("p", cap=Cap(0.4))) is not toll


def test_there_are_never_more_than_so_many() -> None:
    tolls = Tolls()
    first, second = (tolls.of(Policy(name, cap=Cap(0.3))) for name in ("p0", "p1"))
    for number in range(MOST_POLICIES):
        tolls.of(Policy(f"p{number + 1}", cap=Cap(0.3)))
    assert tolls.of(Policy("p1", cap=Cap(0.3))) is second, "only the oldest makes room"
    assert tolls.of(Policy("p0", cap=Cap(0.3))) is not first


def test_it_reports_its_shares() -> None:
    assert repr(sent(Toll(LONG), "a", "b")) == "<Toll a=50% b=50%>"
    assert repr(Toll(LONG)) == "<Toll nothing sent>"
