"""Breakers of several workers: what opens or closes one moves the others, and what is a worker's own fault does not."""

from collections.abc import Callable, Iterator
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.route.breaker import (
    ELSEWHERE,
    FAULTS_IN_A_ROW,
    FIRST_BACKOFF,
    LONGEST_WAIT,
    PROBE_PATIENCE,
    STEADY,
    SUCCESSES_TO_CLOSE,
    Breaker,
    BreakerChange,
    State,
)
from gateway.route.posted import Posted

NOW = 1_000.0


def fail(breaker: Breaker, now: float = NOW, times: int = FAULTS_IN_A_ROW) -> None:
    for _ in range(times):
        breaker.failed(breaker.sent(now), now, 0.0, "server")


def succeed(breaker: Breaker, now: float, times: int = SUCCESSES_TO_CLOSE) -> None:
    for _ in range(times):
        breaker.succeeded(breaker.sent(now), now)


def posted(breaker: Breaker, now: float, worker: bytes = b"other", age: float = 0.0) -> list[Posted[BreakerChange]]:
    """What this worker published `age` seconds before `now`."""
    change = breaker.own(now - age)
    return [] if change is None else [Posted(worker, now - age, age, change)]


def opened(now: float = NOW, times: int = 1) -> Breaker:
    """A breaker that opened so many times in a row, the last time at this moment."""
    breaker = Breaker()
    fail(breaker, now - 10_000)
    for _ in range(times - 1):
        breaker.trip(breaker.opens_until(), 0.0, "server")
    if times > 1:
        breaker.trip(now, 0.0, "server")
        return breaker
    succeed(breaker, now - 9_000)
    fail(breaker, now)
    return breaker


# --- openings ---------------------------------------------------------------------------------------------------


def test_an_opening_elsewhere_opens_it_for_the_same_time() -> None:
    here, there = Breaker(), opened()
    assert not here.merge(posted(there, NOW + 1), NOW + 1)
    assert here.state(NOW + 1) is State.OPEN
    assert here.opens_until() == pytest.approx(there.opens_until())
    assert here.why == f"server {ELSEWHERE}"


def test_it_is_no_news_of_its_own() -> None:
    here = Breaker()
    here.merge(posted(opened(), NOW), NOW)
    assert here.own(NOW) is None


def test_the_age_of_what_is_read_counts() -> None:
    here, there = Breaker(), opened()
    here.merge(posted(there, NOW + 3, age=3.0), NOW + 3)
    assert here.opens_until() == pytest.approx(NOW + FIRST_BACKOFF)


def test_a_newcomer_learns_of_one_that_is_half_open_and_sends_one_probe() -> None:
    here, there, later = Breaker(), opened(), NOW + 100
    here.merge(posted(there, later), later)
    assert here.state(later) is State.HALF_OPEN
    here.sent(later)
    assert not here.allows(later)


def test_a_probe_that_fails_is_its_first_fault() -> None:
    here, there = Breaker(), opened(times=4)
    here.merge(posted(there, NOW), NOW)
    probe_at = here.opens_until()
    fail(here, probe_at, times=1)
    assert here.opens_until() == probe_at + FIRST_BACKOFF
    assert here.own(probe_at) is not None, "that is news of its own"


def test_a_later_opening_elsewhere_lengthens_it() -> None:
    here, there = Breaker(), opened()
    here.merge(posted(there, NOW), NOW)
    again = there.opens_until()
    fail(there, again, times=1)
    here.merge(posted(there, again), again)
    assert here.opens_until() == pytest.approx(there.opens_until()) == again + 2 * FIRST_BACKOFF


def test_requests_from_before_it_was_known_do_not_close_it() -> None:
    here = Breaker()
    old = [here.sent(NOW) for _ in range(3)]
    here.merge(posted(opened(), NOW), NOW)
    for ticket in old:
        here.succeeded(ticket, NOW + 1)
    assert here.state(NOW + 1) is State.OPEN


def test_a_probe_of_its_own_is_waited_for() -> None:
    here, there = opened(), opened()
    at = here.opens_until()
    probe = here.sent(at)
    fail(there, at, times=1)
    here.merge(posted(there, at), at)
    assert here.state(at) is State.HALF_OPEN
    here.succeeded(probe, at)
    succeed(here, at, times=1)
    assert here.state(at) is State.CLOSED


def test_where_it_does_not_answer_here_a_closing_elsewhere_is_not_believed_again() -> None:
    here, there = opened(), opened()
    now = there.opens_until()
    succeed(there, now)
    here.merge(posted(there, now), now)
    assert here.state(now) is State.CLOSED
    fail(here, now + 1)
    fail(there, now + 2)
    again = there.opens_until()
    succeed(there, again)
    here.merge(posted(there, again), again)
    assert here.until is not None, "it goes by its own requests alone"


@pytest.mark.parametrize(("later", "believed"), [(STEADY - 1, False), (STEADY, True)])
def test_a_fault_long_after_a_closing_elsewhere_does_not_contradict_it(later: float, believed: bool) -> None:
    here, there = opened(), opened()
    now = closed_after(there)
    here.merge(posted(there, now), now)
    fail(here, now + later)
    fail(there, now + later)
    again = closed_after(there)
    here.merge(posted(there, again), again)
    assert (here.until is None) is believed


def test_where_it_only_opened_twice_here_a_closing_elsewhere_is_believed() -> None:
    here, there = opened(), opened()
    now = here.opens_until()
    succeed(here, now)
    fail(here, now + 1)
    fail(there, there.opens_until(), times=1)
    again = there.opens_until()
    succeed(there, again)
    here.merge(posted(there, again), again)
    assert here.until is None


def test_a_worker_that_dies_leaves_an_opening_that_ends_with_a_probe() -> None:
    here = Breaker()
    here.merge(posted(opened(), NOW), NOW)
    here.merge([], NOW + 60)
    assert here.state(NOW + 60) is State.HALF_OPEN
    succeed(here, NOW + 60)
    assert here.state(NOW + 60) is State.CLOSED


# --- closings ---------------------------------------------------------------------------------------------------


def closed_after(there: Breaker) -> float:
    """Closes it by its probes; when that was."""
    at = there.opens_until()
    succeed(there, at)
    return at


def test_a_closing_elsewhere_closes_it() -> None:
    here, there = Breaker(), opened()
    here.merge(posted(there, NOW), NOW)
    at = closed_after(there)
    assert here.merge(posted(there, at + 1), at + 1)
    assert here.state(at + 1) is State.CLOSED
    assert here.own(at + 1) is None


def test_it_closes_one_that_opened_by_its_own_faults_too() -> None:
    here, there = opened(times=5), opened()
    assert here.merge(posted(there, NOW), NOW) is False
    at = closed_after(there)
    assert here.state(at) is State.OPEN
    assert here.merge(posted(there, at), at)


def test_after_it_one_fault_does_not_open_it() -> None:
    here, there = opened(times=5), opened()
    at = closed_after(there)
    here.merge(posted(there, at), at)
    fail(here, at, times=FAULTS_IN_A_ROW - 1)
    assert here.state(at) is State.CLOSED


def test_a_closing_from_before_it_opened_does_not_close_it() -> None:
    there = opened(NOW - 100)
    closed_after(there)
    here = opened()
    assert not here.merge(posted(there, NOW), NOW)
    assert here.state(NOW) is State.OPEN


def test_a_closing_that_is_long_past_is_not_published() -> None:
    there = opened()
    at = closed_after(there)
    assert there.own(at + STEADY) is not None
    assert there.own(at + STEADY + 1) is None


# --- what contradicts its own requests --------------------------------------------------------------------------


def test_where_it_answers_here_further_openings_elsewhere_are_passed_over() -> None:
    here, there = Breaker(), opened()
    here.merge(posted(there, NOW), NOW)
    at = here.opens_until()
    succeed(here, at)
    fail(there, at, times=1)
    here.merge(posted(there, at + 1), at + 1)
    assert here.state(at + 1) is State.CLOSED


def test_where_both_opened_it_the_next_outage_is_shared_again() -> None:
    here, there = Breaker(), opened()
    here.merge(posted(there, NOW), NOW)
    at = here.opens_until()
    fail(here, at, times=1)
    back = here.opens_until()
    succeed(here, back)
    there.merge(posted(here, back), back)
    fail(there, back + 20)
    here.merge(posted(there, back + 20), back + 20)
    assert here.state(back + 20) is State.OPEN


def run(seconds: int, works: Callable[[int, float], bool], shared: bool = True) -> tuple[list[int], list[int]]:
    """Two workers that want to send once a second, and merge after that: (seconds avoided, faults) of each."""
    workers = [Breaker(), Breaker()]
    avoided, faults = [0, 0], [0, 0]
    for second in range(seconds):
        now = NOW + second
        for place, breaker in enumerate(workers):
            if not breaker.allows(now):
                avoided[place] += 1
            elif works(place, now):
                breaker.succeeded(breaker.sent(now), now)
            else:
                breaker.failed(breaker.sent(now), now, 0.0, "server")
                faults[place] += 1
        if shared:
            messages = [posted(breaker, now) for breaker in workers]
            for breaker, others in zip(workers, reversed(messages), strict=True):
                breaker.merge(others, now)
    return avoided, faults


def test_a_fault_of_one_workers_own_costs_the_other_a_moment() -> None:
    alone_avoided, alone_faults = run(3_600, lambda worker, _: worker == 0, shared=False)
    avoided, faults = run(3_600, lambda worker, _: worker == 0)
    assert alone_avoided[0] == 0
    assert avoided[0] <= 2 * FIRST_BACKOFF
    assert faults[1] <= alone_faults[1] + 2 * FAULTS_IN_A_ROW


def test_an_outage_costs_the_second_worker_no_row_of_faults_and_ends_for_both() -> None:
    def works(worker: int, now: float) -> bool:
        down = NOW + 600 <= now < NOW + 700
        return not down if worker == 0 else not down or now < NOW + 603  # the other still has good answers to come

    _, faults = run(1_200, works)
    _, alone = run(1_200, works, shared=False)
    assert faults[1] < alone[1]
    assert sum(faults) < sum(alone)


# --- any order, repeated, garbage -------------------------------------------------------------------------------

changes = st.builds(
    BreakerChange,
    st.integers(1, 5),
    st.integers(0, 600_000),
    st.booleans(),
    st.integers(0, int(1_000 * LONGEST_WAIT)),
    st.just("server"),
)
others = st.lists(
    st.builds(Posted, st.sampled_from([b"1", b"2", b"3"]), st.just(0.0), st.floats(0.0, 60.0), changes),
    max_size=3,
    unique_by=lambda one: one.worker,
)


def facts(breaker: Breaker) -> tuple[object, ...]:
    return tuple(getattr(breaker, name) for name in Breaker.__slots__ if name != "_recent")


@given(others)
def test_the_order_of_workers_does_not_matter(messages: list[Posted[BreakerChange]]) -> None:
    found = []
    for order in permutations(messages):
        breaker = Breaker()
        breaker.merge(order, NOW)
        found.append(facts(breaker))
    assert all(one == found[0] for one in found)


@given(others, st.floats(0.0, 5.0))
def test_what_was_read_before_changes_nothing(messages: list[Posted[BreakerChange]], later: float) -> None:
    breaker = Breaker()
    breaker.merge(messages, NOW)
    before = facts(breaker)
    again = [one._replace(age=one.age + later) for one in messages]
    assert not breaker.merge(again, NOW + later)
    assert facts(breaker) == before


class WorkersMachine(RuleBasedStateMachine):
    """Three workers send, publish and read at any time; a fourth publishes whatever it likes."""

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.workers = [Breaker() for _ in range(3)]
        self.board: dict[int, Posted[BreakerChange]] = {}

    @rule(pause=st.one_of(st.floats(0.0, 10.0), st.floats(0.0, 400.0)))
    def time_passes(self, pause: float) -> None:
        self.now += pause

    @rule(place=st.integers(0, 2), good=st.booleans(), times=st.integers(1, 6))
    def sends(self, place: int, good: bool, times: int) -> None:
        breaker = self.workers[place]
        for _ in range(times):
            ticket = breaker.sent(self.now)
            if good:
                breaker.succeeded(ticket, self.now)
            else:
                breaker.failed(ticket, self.now, 0.5, "server")

    @rule(place=st.integers(0, 2))
    def publishes(self, place: int) -> None:
        change = self.workers[place].own(self.now)
        self.board.pop(place, None)
        if change is not None:
            self.board[place] = Posted(b"%d" % place, self.now, 0.0, change)

    @rule(change=changes, number=st.integers(1, 1_000))
    def nonsense(self, change: BreakerChange, number: int) -> None:
        self.board[3] = Posted(
            b"3", self.now, 0.0, BreakerChange(number, change.age, change.open, change.wait, "x" * 64)
        )

    @rule(place=st.integers(0, 3))
    def dies(self, place: int) -> None:
        self.board.pop(place, None)

    @precondition(lambda self: self.board)
    @rule(place=st.integers(0, 2))
    def reads(self, place: int) -> None:
        breaker, was = self.workers[place], self.workers[place].state(self.now)
        closed = breaker.merge(list(self.read(place)), self.now)
        assert closed == (was is not State.CLOSED and breaker.state(self.now) is State.CLOSED)
        before = breaker.until
        breaker.merge(list(self.read(place)), self.now)
        assert breaker.until == before

    def read(self, place: int) -> Iterator[Posted[BreakerChange]]:
        for writer, one in self.board.items():
            if writer != place and self.now - one.written <= 60.0:
                yield one._replace(age=self.now - one.written)

    @invariant()
    def never_open_for_good(self) -> None:
        later = self.now + LONGEST_WAIT + PROBE_PATIENCE
        assert all(breaker.allows(later) for breaker in self.workers)

    @invariant()
    def what_is_published_can_be_read(self) -> None:
        for breaker in self.workers:
            change = breaker.own(self.now)
            assert change is None or msgspec.convert(msgspec.to_builtins(change), BreakerChange) == change


TestWorkersMachine = WorkersMachine.TestCase


def test_a_worker_that_opens_it_every_second_does_not_keep_this_one_from_its_probe() -> None:
    here = Breaker()
    for second in range(int(LONGEST_WAIT) + 1):
        change = BreakerChange(second + 1, 0, True, int(1_000 * LONGEST_WAIT), "server")
        here.merge([Posted(b"bad", 0.0, 0.0, change)], NOW + second)
    at = NOW + LONGEST_WAIT
    assert here.allows(at)
    succeed(here, at)
    assert here.state(at) is State.CLOSED
    here.merge([Posted(b"bad", 0.0, 0.0, BreakerChange(10_000, 0, True, 300_000, "server"))], at + 1)
    assert here.state(at + 1) is State.CLOSED
