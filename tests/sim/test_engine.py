from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sim.demofleet import FLEET
from gateway.sim.engine import requests
from gateway.sim.fleet import Incidents, Rates
from gateway.types import Attempts, Delay, Hedge, Pick, Policy, Price, Score, Timeouts
from tests.sim.world import CHEAPEST, PROMPT, host, replay, row

PAID = 1e6  # tokens that a price is for
ERRORS = Rates(rate_limited=0.0, server_error=1.0, cut=0.0)
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


def test_a_host_that_fails_is_failed_over_and_nobody_notices() -> None:
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
    engine = replay([row(0.0)], [host("a", rates=Rates(0.0, 0.0, 1.0))])
    figures = engine.tally.figures()
    assert (figures.success, figures.cut_later) == (1.0, 1.0)
    assert figures.blended_price is None  # no token of a whole answer
    assert engine.tally.shares() == {"a": 1.0}


def test_without_any_host_left_the_client_is_told() -> None:
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
    tally = replay(rows, SICK, policy, seed).tally
    assert tally.completed + tally.broken + tally.given_up == len(rows)
    assert sum(tally.shares().values()) == pytest.approx(1.0) or not tally.completed
    assert replay(rows, SICK, policy, seed).tally.figures() == tally.figures()
