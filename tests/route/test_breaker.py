"""The breaker: opens on faults, asks again with one probe, waits longer each time, and never stays open for good."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.route.breaker import (
    FAULTS_IN_A_ROW,
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    PROBE_PATIENCE,
    SPREAD,
    STEADY,
    SUCCESSES_TO_CLOSE,
    Breaker,
    State,
)

pauses = st.one_of(st.floats(0.0, 10.0), st.floats(0.0, 2 * LONGEST_BACKOFF))
draws = st.floats(0.0, 1.0, exclude_max=True)


def tripped(times: int = 1) -> tuple[Breaker, float]:
    """A breaker that has opened so many times in a row, and the moment when it lets a probe through."""
    breaker = Breaker()
    for _ in range(FAULTS_IN_A_ROW):
        breaker.failed(breaker.sent(0.0), 0.0, 0.0, "cut")
    now = breaker.opens_until()
    for _ in range(times - 1):
        breaker.failed(breaker.sent(now), now, 0.0, "cut")
        now = breaker.opens_until()
    return breaker, now


def test_five_faults_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(FAULTS_IN_A_ROW - 1):
        breaker.failed(breaker.sent(0.0), 0.0, 0.0, "server")
    assert breaker.state(0.0) is State.CLOSED
    breaker.failed(breaker.sent(0.0), 0.0, 0.0, "cut")
    assert breaker.state(0.0) is State.OPEN
    assert breaker.why == "cut"


def test_a_success_between_faults_keeps_it_closed() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAULTS_IN_A_ROW - 1):
            breaker.failed(breaker.sent(0.0), 0.0, 0.0, "server")
        for _ in range(FAULTS_IN_A_ROW):
            breaker.succeeded(breaker.sent(0.0), 0.0)
    assert breaker.state(0.0) is State.CLOSED


def test_more_faults_than_successes_open_it() -> None:
    breaker = Breaker()
    for number in range(20):
        assert breaker.state(0.0) is State.CLOSED
        if number % 3:
            breaker.failed(breaker.sent(0.0), 0.0, 0.0, "server")
        else:
            breaker.succeeded(breaker.sent(0.0), 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_half_of_the_requests_may_fail() -> None:
    """With one good one that is taken as seen before: 11 of 22."""
    breaker = Breaker()
    for _ in range(10):
        breaker.succeeded(breaker.sent(0.0), 0.0)
        breaker.failed(breaker.sent(0.0), 0.0, 0.0, "server")
    breaker.failed(breaker.sent(0.0), 0.0, 0.0, "server")
    assert breaker.state(0.0) is State.CLOSED
    breaker.failed(breaker.sent(0.0), 0.0, 0.0, "server")
    assert breaker.state(0.0) is State.OPEN


def test_two_good_probes_one_after_the_other_close_it() -> None:
    breaker, now = tripped()
    for _ in range(SUCCESSES_TO_CLOSE):
        assert breaker.state(now) is State.HALF_OPEN
        assert breaker.allows(now)
        probe = breaker.sent(now)
        assert not breaker.allows(now)
        breaker.succeeded(probe, now)
    assert breaker.state(now) is State.CLOSED
    assert breaker.why == ""
    assert breaker.opens_until() == 0


def test_the_wait_doubles_up_to_five_minutes() -> None:
    waits = []
    for times in range(1, 10):
        before = tripped(times - 1)[1] if times > 1 else 0.0
        waits.append(tripped(times)[1] - before)
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]


def test_a_host_that_answers_with_errors_is_tried_every_ten_seconds() -> None:
    """It is back soon after its outage, however long that was."""
    breaker, waits = Breaker(), []
    now = 0.0
    for _ in range(6):
        breaker.trip(now, 0.0, "server")
        waits.append(breaker.opens_until() - now)
        now = breaker.opens_until()
    assert waits == [5.0, 10.0, 10.0, 10.0, 10.0, 10.0]


def test_silence_after_errors_waits_as_long_as_silence_does() -> None:
    breaker = Breaker()
    for now, why, until in [(0.0, "server", 5.0), (5.0, "server", 15.0), (15.0, "timeout_first_token", 35.0)]:
        breaker.trip(now, 0.0, why)
        assert breaker.opens_until() == until
    breaker.trip(35.0, 0.0, "timeout_first_token")
    assert breaker.opens_until() == 75.0


def test_chance_spreads_the_wait_so_that_replicas_do_not_probe_together() -> None:
    breaker = Breaker()
    breaker.trip(0.0, draw=0.5, why="account")
    assert breaker.opens_until() == FIRST_BACKOFF * (1 + SPREAD / 2)


def closed_again() -> tuple[Breaker, float]:
    """A breaker that opened four times, the last time for 40 s, and closed at this moment."""
    breaker, now = tripped(4)
    for _ in range(SUCCESSES_TO_CLOSE):
        breaker.succeeded(breaker.sent(now), now)
    return breaker, now


def test_after_closing_one_fault_does_not_open_it() -> None:
    breaker, now = closed_again()
    breaker.failed(breaker.sent(now), now, 0.0, "server")
    assert breaker.state(now) is State.CLOSED


def test_faults_before_it_closed_do_not_count_afterwards() -> None:
    breaker = Breaker()
    for ticket in [breaker.sent(0.0) for _ in range(40)]:
        breaker.failed(ticket, 0.0, 0.0, "server")
    now = breaker.opens_until()
    for _ in range(SUCCESSES_TO_CLOSE):
        breaker.succeeded(breaker.sent(now), now)
    for _ in range(FAULTS_IN_A_ROW - 1):
        breaker.failed(breaker.sent(now), now, 0.0, "server")
    assert breaker.state(now) is State.CLOSED


def test_what_fails_again_soon_waits_longer_still() -> None:
    breaker, now = closed_again()
    later = now + STEADY - 1
    breaker.trip(later, 0.0, "account")
    assert breaker.opens_until() == later + 80


def test_what_held_for_five_minutes_starts_over() -> None:
    breaker, now = closed_again()
    later = now + STEADY
    breaker.trip(later, 0.0, "account")
    assert breaker.opens_until() == later + FIRST_BACKOFF


def test_a_success_returns_whether_it_closed_the_breaker() -> None:
    breaker, now = tripped()
    assert [breaker.succeeded(breaker.sent(now), now) for _ in range(3)] == [False, True, False]


def test_a_cancelled_probe_gives_its_place_back() -> None:
    breaker, now = tripped()
    breaker.released(breaker.sent(now))
    assert breaker.state(now) is State.HALF_OPEN
    assert breaker.allows(now)


def test_the_end_of_another_request_does_not_give_the_probes_place_away() -> None:
    breaker = Breaker()
    old = breaker.sent(0.0)
    breaker.trip(0.0, 0.0, "account")
    now = breaker.opens_until()
    breaker.sent(now)
    breaker.released(old)
    assert not breaker.allows(now)


def test_requests_from_before_it_opened_do_not_move_it() -> None:
    breaker = Breaker()
    old = [breaker.sent(0.0) for _ in range(4)]
    breaker.trip(0.0, 0.0, "account")
    now = breaker.opens_until()
    breaker.succeeded(old[0], now)
    breaker.succeeded(old[1], now)
    assert breaker.state(now) is State.HALF_OPEN
    breaker.failed(old[2], now, 0.0, "cut")
    assert breaker.state(now) is State.HALF_OPEN


def test_a_probe_that_never_reports_loses_its_place() -> None:
    breaker, now = tripped()
    breaker.sent(now)
    assert not breaker.allows(now + PROBE_PATIENCE - 1)
    assert breaker.allows(now + PROBE_PATIENCE)


class BreakerMachine(RuleBasedStateMachine):
    """Requests are sent, also in panic while it is open; they succeed, fail, are released, or are never heard of."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.breaker = Breaker()
        self.out: list[int] = []
        self.probes: dict[int, float] = {}  # ticket -> sent at; gone when it reported
        self.last_wait = 0.0
        self.closed_at = -STEADY

    @rule(pause=pauses)
    def time_passes(self, pause: float) -> None:
        self.now += pause

    @precondition(lambda self: self.breaker.allows(self.now))
    @rule()
    def send(self) -> None:
        half_open = self.breaker.state(self.now) is State.HALF_OPEN
        ticket = self.breaker.sent(self.now)
        self.out.append(ticket)
        if half_open:
            self.probes[ticket] = self.now

    @precondition(lambda self: not self.breaker.allows(self.now))
    @rule()
    def send_because_nothing_else_is_left(self) -> None:
        self.out.append(self.breaker.sent(self.now))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def succeeds(self, data: st.DataObject) -> None:
        before = self.breaker.state(self.now)
        closed = self.breaker.succeeded(self.take(data), self.now)
        assert closed == (before is not State.CLOSED and self.breaker.state(self.now) is State.CLOSED)
        if closed:
            self.closed_at = self.now

    @precondition(lambda self: self.out)
    @rule(data=st.data(), draw=draws)
    def fails(self, data: st.DataObject, draw: float) -> None:
        ticket = self.take(data)
        self.opening(lambda: self.breaker.failed(ticket, self.now, draw, "cut"))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def is_cancelled(self, data: st.DataObject) -> None:
        self.breaker.released(self.take(data))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def is_never_heard_of(self, data: st.DataObject) -> None:
        self.out.remove(data.draw(st.sampled_from(self.out)))

    @rule(draw=draws)
    def account_is_refused(self, draw: float) -> None:
        self.opening(lambda: self.breaker.trip(self.now, draw, "account"))

    def take(self, data: st.DataObject) -> int:
        ticket = data.draw(st.sampled_from(self.out))
        self.out.remove(ticket)
        self.probes.pop(ticket, None)
        return ticket

    def opening(self, act: object) -> None:
        """Does something that may open the breaker, and checks how long it then waits."""
        before, was = self.breaker.state(self.now), self.breaker.opens_until()
        act()  # type: ignore[operator]
        if self.breaker.opens_until() == was:
            return
        wait = self.breaker.opens_until() - self.now
        starts_over = before is State.CLOSED and self.now - self.closed_at >= STEADY
        low = FIRST_BACKOFF if starts_over else min(LONGEST_BACKOFF, self.last_wait * 2 / (1 + SPREAD))
        assert low - 1e-6 <= wait <= LONGEST_BACKOFF * (1 + SPREAD) + 1e-6
        assert not starts_over or wait <= FIRST_BACKOFF * (1 + SPREAD) + 1e-6
        self.last_wait = wait
        self.probes.clear()

    @invariant()
    def at_most_one_probe_at_a_time(self) -> None:
        waiting = [at for at in self.probes.values() if self.now - at < PROBE_PATIENCE]
        if self.breaker.state(self.now) is State.HALF_OPEN:
            assert len(waiting) <= 1
            assert not waiting or not self.breaker.allows(self.now)

    @invariant()
    def never_open_for_good(self) -> None:
        assert self.breaker.allows(self.now + LONGEST_BACKOFF * (1 + SPREAD) + PROBE_PATIENCE)

    @invariant()
    def success_closes(self) -> None:
        if not self.breaker.allows(self.now) or self.breaker.state(self.now) is State.CLOSED:
            return
        copy = self.replayed()
        for _ in range(SUCCESSES_TO_CLOSE):
            copy.succeeded(copy.sent(self.now), self.now)
        assert copy.state(self.now) is State.CLOSED

    def replayed(self) -> Breaker:
        copy = Breaker()
        for name in Breaker.__slots__:
            setattr(copy, name, getattr(self.breaker, name))
        return copy


TestBreakerMachine = BreakerMachine.TestCase
