from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sim.behaviour import REFUSED_AFTER
from gateway.sim.changes import HostChange
from gateway.sim.demofleet import FLEET
from gateway.sim.engine import requests
from gateway.sim.sim_host import FaultRates, Incidents
from gateway.types import Attempts, Delay, Hedge, Pick, Policy, Price, Score, Timeouts
from tests.sim.world import CHEAPEST, PROMPT, host, replay, row

PAID = 1e6  # tokens that a price is for
ERRORS = FaultRates(rate_limited=0.0, server_error=1.0, cut=0.0)
SICK = tuple(replace(one, incidents=Incidents(every=600.0, median=60.0)) for one in FLEET[:4])


def test_requests_are_the_rows_as_the_core_sees_them() -> None:
    (request,) = requests([row(0.0, 7, 8, tokens=700)], "m")
    assert (request.prompt_tokens, request.prefix, request.stream) == (700, ((7, 512), (8, 700)), True)


def test_two_blocks_of_a_trace_are_the_opening_of_a_conversation() -> None:
    short, long = requests([row(0.0, 7, 8, tokens=700), row(1.0, 7, 8, 9, tokens=1_400)], "m")
    assert (short.opening, long.opening) == (700, 1_024)


def test_a_replay_pays_what_the_host_bills() -> None:
    """The same prompt twice: the second time three of its blocks are cached."""
    figures = replay([row(0.0, 1, 2, 3), row(30.0, 1, 2, 3)], [host("a")]).tally.figures()
    cached, prompt, output = 3 * 512, 2 * PROMPT, 200
    dollars_in = (0.2 * (prompt - cached) + 0.02 * cached) / PAID
    assert figures.cache_hit == pytest.approx(cached / prompt)
    assert figures.effective_input_price == pytest.approx(dollars_in / prompt * PAID)
    assert figures.blended_price == pytest.approx((dollars_in + 0.4 * output / PAID) / (prompt + output) * PAID)


def test_time_is_virtual_and_comes_from_the_hosts() -> None:
    figures = replay([row(0.0), row(1e6)], [host("a", ttft=2.5)]).tally.figures()
    assert (figures.ttft_p50, figures.ttft_p99) == pytest.approx((2.5, 2.5))


def test_a_failed_host_is_failed_over_without_an_error() -> None:
    hosts = [host("a", price=Price(0.1, 0.1), rates=ERRORS), host("b")]
    engine = replay([row(float(t)) for t in range(10)], hosts)
    assert engine.tally.figures().success == 1.0
    assert engine.tally.shares() == {"a": 0.0, "b": 1.0}


def test_a_host_that_says_nothing_is_given_up_at_its_clock() -> None:
    hosts = [host("a", price=Price(0.1, 0.1), ttft=1e4), host("b", ttft=1.0)]
    policy = replace(CHEAPEST, timeouts=Timeouts(first_token=3.0, first_token_per_10k=0.0))
    figures = replay([row(0.0)], hosts, policy).tally.figures()
    assert figures.ttft_p50 == pytest.approx(4.0)
    assert figures.success == 1.0


def test_an_answer_that_is_cut_is_broken_and_its_part_is_paid() -> None:
    engine = replay([row(0.0)], [host("a", rates=FaultRates(0.0, 0.0, 1.0))])
    figures = engine.tally.figures()
    assert (figures.success, figures.cut_later) == (1.0, 1.0)
    assert figures.blended_price is None  # no token of a whole answer
    assert engine.tally.shares() == {"a": 1.0}


def test_without_any_host_left_the_client_gets_an_error() -> None:
    figures = replay([row(0.0)], [host("a", rates=ERRORS)]).tally.figures()
    assert (figures.success, figures.ttft_p50, figures.blended_price) == (0.0, None, None)


def test_a_late_first_token_is_hedged_and_the_loser_is_paid() -> None:
    """The first host takes 11 s for the last request; a second one is asked after 2 s."""
    policy = Policy(
        name="hedged",
        score=Score(value_of_time=0.0, failure_cost=0.0),
        pick=Pick(how="best", explore=0.0),
        attempts=Attempts(max=2, within=600.0),
        timeouts=Timeouts(first_token=100.0),
        hedge=Hedge(after=Delay(seconds=2.0), max_share=1.0, max_spend=1.0),
    )
    slow = row(1000.0, tokens=PROMPT + 1_000)
    hosts = [host("a", price=Price(0.1, 0.1), prefill=100.0), host("b", prefill=1e9)]
    engine = replay([*(row(float(10 * t)) for t in range(20)), slow], hosts, policy)
    figures = engine.tally.figures()
    assert figures.hedges == pytest.approx(1 / 21)
    assert figures.ttft_p99 == pytest.approx(2.0 + 1.0, abs=1e-3)
    lost, won = 0.1 * slow.input_tokens, 0.2 * slow.input_tokens + 0.4 * 100  # the loser bills its prompt
    assert figures.hedge_spend == pytest.approx(lost / (lost + won + 20 * 0.1 * (PROMPT + 100)))


def test_a_log_says_where_a_request_went_and_what_came_of_it() -> None:
    """The first host errs, the second one answers."""
    hosts = [host("a", price=Price(0.1, 0.1), rates=ERRORS), host("b", ttft=2.0)]
    log = replay([row(3.0)], hosts, replace(CHEAPEST, attempts=Attempts(retries=0))).log
    assert log is not None
    assert (log.arrived[0], log.sent_to[0], log.answered_by[0]) == (3.0, 0, 1)
    assert log.ttft[0] == pytest.approx(REFUSED_AFTER + 2.0)
    assert log.usd[0] == log.actual_usd[0] == pytest.approx((0.2 * PROMPT + 0.4 * 100) / PAID)
    assert log.actual_seconds[0] == pytest.approx(2.0 + 100 / 50)
    assert log.tokens[0] == PROMPT + 100
    assert log.predicted_usd[0] > 0.1 * PROMPT / PAID  # of the first attempt


def test_expected_dollars_are_compared_with_the_bill() -> None:
    figures = replay([row(10.0 * t) for t in range(400)], [host("a")]).tally.figures()
    assert figures.predicted_usd_bias == pytest.approx(1.0, abs=0.05)
    assert figures.predicted_seconds_bias is not None


def test_a_newcomer_gets_nothing_before_it_joins() -> None:
    hosts = [host("a"), host("new", price=Price(0.1, 0.1))]
    engine = replay([row(10.0 * t) for t in range(100)], hosts, changes=[HostChange("new", 0.0, 500.0, absent=True)])
    assert engine.log is not None
    assert engine.log.share("new", 0.0, 500.0) == 0.0
    assert engine.log.share("new", 500.0, inf) > 0.9
    assert engine.router.fleet.states["new"].endpoint.price == Price(0.1, 0.1)


def test_a_price_changes_on_the_bill_and_in_the_configuration() -> None:
    """The cheapest host gets dearer than the other: what was sent before costs the old price, and traffic leaves."""
    hosts = [host("a", price=Price(0.1, 0.1)), host("b")]
    engine = replay([row(10.0 * t) for t in range(100)], hosts, changes=[HostChange("a", 495.0, price=Price(1.0, 1.0))])
    log, tokens = engine.log, PROMPT + 100
    assert log is not None
    assert (log.share("a", 0.0, 495.0), log.share("a", 495.0, inf)) == (1.0, 0.0)
    assert log.spent(0.0, 495.0) == pytest.approx(50 * 0.1 * tokens / PAID)
    assert engine.router.fleet.states["a"].endpoint.price == Price(1.0, 1.0)


def test_a_host_that_falls_silent_is_given_up_at_its_clock() -> None:
    policy = replace(CHEAPEST, timeouts=Timeouts(first_token=3.0, first_token_per_10k=0.0))
    hosts = [host("a", price=Price(0.1, 0.1)), host("b")]
    log = replay([row(0.0), row(50.0)], hosts, policy, changes=[HostChange("a", 40.0, 60.0, silent=True)]).log
    assert log is not None
    assert list(log.ttft) == pytest.approx([1.0, 3.0 + 1.0])
    assert log.waited(2.0, 0.0, inf) == 1


def test_progress_ends_with_everything_done() -> None:
    rows = [row(0.1 * t) for t in range(1_200)]
    engine = replay(rows, [host("a")])
    told: list[float] = []
    type(engine)(rows, engine.requests, engine.router, engine.behaviour).run(told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 2


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5), st.integers(1, 60_000)), min_size=1, max_size=60),
    st.integers(0, 5),
    st.sampled_from([CHEAPEST, Policy(name="b", hedge=Hedge(Delay(seconds=0.5), 1.0, 1.0))]),
)
def test_every_exchange_ends_once_and_a_seed_repeats_itself(
    asked: list[tuple[float, int, int]], seed: int, policy: Policy
) -> None:
    rows = [row(t, 1, 1 + name, tokens=tokens) for t, name, tokens in sorted(asked)]
    engine = replay(rows, SICK, policy, seed)
    tally = engine.tally
    assert set(engine.behaviour.in_flight.values()) == {0}
    assert tally.completed + tally.broken + tally.given_up == len(rows)
    assert sum(tally.shares().values()) == pytest.approx(1.0) or not tally.completed
    assert replay(rows, SICK, policy, seed).tally.figures() == tally.figures()
