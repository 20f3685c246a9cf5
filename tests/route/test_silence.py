"""Requests that wait count before they end: an endpoint that has gone silent is left before its deadlines."""

from itertools import count
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.route.filters import Tier
from gateway.route.fleet import Fleet
from gateway.route.silence import HUNG, LEAST_SCATTER, LOOKED_AT, Silence
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.types import Failure, Fault, Usage
from tests.route.world import NOW, answer, attempt, endpoint, fresh, plan, request

USUAL, SCATTER = 1.0, 0.5
waits = st.lists(st.floats(0.0, 1e4), max_size=100)


def waiting(*seconds: float, now: float = NOW) -> Silence:
    """Requests that have waited so long, in the order in which they were sent."""
    made = Silence()
    for ticket, waited in enumerate(sorted(seconds, reverse=True)):
        made.sent(ticket, USUAL, SCATTER, now - waited)
    made.judge(now)
    return made


# --- one wait, and several --------------------------------------------------------------------------------------


def test_nothing_waits_so_nothing_is_silent() -> None:
    assert not waiting().silent
    assert not Silence().silent, "before the first look"


def test_a_usual_wait_says_nothing_however_many_do() -> None:
    assert not waiting(*[0.5] * 10).silent
    assert not waiting(1.0, 0.8, 0.6, 0.4, 0.2).silent


def test_one_long_wait_is_silence_only_when_it_is_very_long() -> None:
    assert not waiting(5.0).silent
    assert waiting(12.0).silent


def test_several_waits_are_silence_sooner() -> None:
    assert not waiting(3.0).silent
    assert waiting(*[3.0] * 4).silent


def test_why_says_how_many_and_how_long() -> None:
    assert waiting(12.0).why == "1 request without a first token for up to 12 s"
    assert waiting(6.0, 5.0, 4.0).why == "3 requests without a first token for up to 6 s"


@given(waits, st.floats(0.0, 100.0))
def test_silence_only_grows_while_it_lasts(seconds: list[float], longer: float) -> None:
    before = waiting(*seconds)
    silent, hung = before.silent, before.hung
    before.judge(NOW + longer)
    assert before.silent >= silent
    assert before.hung >= hung


@given(waits, st.integers(0, 100))
def test_a_first_token_speaks_for_all_that_were_sent_before_it(seconds: list[float], answered: int) -> None:
    made = waiting(*seconds)
    made.sent(1_000, USUAL, SCATTER, NOW)
    made.judge(NOW)
    made.began(1_000)
    assert not made.silent
    made.judge(NOW + answered)
    assert not made.silent


def test_the_first_token_of_an_older_request_does_not_excuse_newer_ones() -> None:
    made = waiting(20.0, 6.0, 6.0, 6.0)
    made.began(0)
    made.judge(NOW)
    assert made.silent


def test_first_tokens_in_another_order_excuse_as_much() -> None:
    made = waiting(20.0, 12.0, 6.0)
    made.began(2)
    made.began(0)
    made.judge(NOW)
    assert not made.silent, "what waits was sent before one that was answered"


def test_a_request_that_ended_otherwise_excuses_none() -> None:
    made = waiting(20.0, 6.0, 6.0, 6.0)
    made.ended(3)
    made.judge(NOW)
    assert made.silent
    for ticket in range(3):
        made.ended(ticket)
    made.judge(NOW)
    assert not made.silent, "none of them is left"


def test_a_hung_request_counts_even_where_others_are_answered() -> None:
    limit = USUAL * exp(HUNG * SCATTER)
    made = waiting(limit + 1, limit + 1, limit - 1)
    made.sent(1_000, USUAL, SCATTER, NOW)
    made.began(1_000)
    made.judge(NOW)
    assert (made.silent, made.hung) == (False, 2)
    made.began(0)
    made.judge(NOW)
    assert made.hung == 1


def test_little_scatter_is_not_taken_at_its_word() -> None:
    few = Silence()
    few.sent(1, USUAL, 0.05, NOW)
    few.judge(NOW + 0.9 * USUAL * exp(HUNG * LEAST_SCATTER))
    assert few.hung == 0


def test_only_the_oldest_are_looked_at() -> None:
    assert waiting(*[100.0] * (2 * LOOKED_AT)).hung == LOOKED_AT


# --- any order --------------------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Requests are sent, begin and end, each of them twice and for unknown ones as well, and time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.silence = Silence()
        self.now = NOW
        self.tickets = count(1)
        self.waiting: dict[int, float] = {}
        self.sent_at: dict[int, float] = {}
        self.begun = -1.0

    @rule()
    def send(self) -> None:
        ticket = next(self.tickets)
        self.waiting[ticket] = self.sent_at[ticket] = self.now
        self.silence.sent(ticket, USUAL, SCATTER, self.now)

    @rule(ticket=st.integers(0, 50))
    def begin(self, ticket: int) -> None:
        if (sent := self.waiting.pop(ticket, None)) is not None:
            self.begun = max(self.begun, sent)
        self.silence.began(ticket)

    @rule(ticket=st.integers(0, 50))
    def end(self, ticket: int) -> None:
        self.waiting.pop(ticket, None)
        self.silence.ended(ticket)

    @rule(seconds=st.floats(0.0, 100.0))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def judge(self) -> None:
        self.silence.judge(self.now)
        if self.silence.silent:
            assert any(sent > self.begun for sent in self.waiting.values())
        assert self.silence.hung <= len(self.waiting)

    @precondition(lambda self: self.waiting)
    @rule()
    def all_end(self) -> None:
        for ticket in list(self.waiting):
            self.end(ticket)
        self.silence.judge(self.now)
        assert (len(self.silence), self.silence.silent, self.silence.hung) == (0, False, 0)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        assert len(self.silence) == len(self.waiting)


TestAnyOrder = AnyOrder.TestCase


# --- in a fleet -------------------------------------------------------------------------------------------------


def silent_fleet() -> tuple[Fleet, list[TrackedAttempt]]:
    """Four requests wait at `a`, which usually answers within a second, and has a deadline of 30 s; `b` is idle."""
    fleet = Fleet([endpoint("a"), endpoint("b")])
    for _ in range(30):
        answer(fleet, attempt(fleet, "a", now=NOW - 60), ttft=1.0)
    return fleet, [attempt(fleet, "a", now=NOW, deadline=30.0) for _ in range(4)]


def tier_of(fleet: Fleet, name: str, now: float) -> tuple[Tier, str]:
    choice = next(one for one in plan(fleet, now=now).ranked if one.endpoint.id == name)
    return choice.tier, choice.why.rule if choice.why else ""


def test_a_silent_endpoint_is_set_back_long_before_its_deadline() -> None:
    fleet, _ = silent_fleet()
    assert tier_of(fleet, "a", NOW + 1) == (Tier.GOOD, "")
    assert tier_of(fleet, "a", NOW + 8) == (Tier.OUTLIER, "silent")
    assert plan(fleet, now=NOW + 8).ranked[0].endpoint.id == "b"


def test_it_is_forgiven_with_the_first_token() -> None:
    fleet, tried = silent_fleet()
    assert tier_of(fleet, "a", NOW + 8) == (Tier.OUTLIER, "silent")
    later = attempt(fleet, "a", now=NOW + 8)
    fleet.began(later, NOW + 9)
    assert tier_of(fleet, "a", NOW + 9) == (Tier.GOOD, "")
    assert len(fleet.states["a"].silence) == len(tried)


@pytest.mark.parametrize("how", ["succeeded", "failed", "released"])
def test_however_its_requests_end_it_is_not_silent_any_more(how: str) -> None:
    fleet, tried = silent_fleet()
    assert tier_of(fleet, "a", NOW + 8)[1] == "silent"
    for one in tried:
        if how == "succeeded":
            fleet.succeeded(one, Usage(1_000, 0, 100, 0, "host"), None, None, NOW + 8)
        elif how == "failed":
            fleet.failed(one, Failure(Fault.REJECTED, "no"), NOW + 8, draw=0.0)
        else:
            fleet.released(one, False, NOW + 8)
    assert len(fleet.states["a"].silence) == 0
    assert tier_of(fleet, "a", NOW + 9)[1] != "silent"


def test_some_that_hang_while_others_are_answered_count_as_failures() -> None:
    fleet, tried = silent_fleet()
    state = fleet.states["a"]
    usually = fresh(state, NOW).fails
    answer(fleet, attempt(fleet, "a", now=NOW + 20), ttft=1.0)
    assert fresh(state, NOW + 25).fails > usually + 0.08
    assert not state.silence.silent
    for one in tried:
        fleet.began(one, NOW + 25)
    assert fresh(state, NOW + 25).fails == pytest.approx(usually, abs=0.01)


def test_a_whole_answer_may_take_as_long_as_it_takes_to_write() -> None:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    for _ in range(4):
        attempt(fleet, "a", request(stream=False), deadline=600.0)
    assert tier_of(fleet, "a", NOW + 60) == (Tier.GOOD, "")
