"""Attempts beyond the first are bounded where hosts fail, and free where they do not."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.route.exchange import Exchange
from gateway.route.retry_budget import FLOOR, WINDOW, RetryBudget
from gateway.route.signals import Command, Failed, GiveUp, Send, Started
from gateway.types import Failure, Fault
from tests.route.world import CHEAPEST, plan, priced, request

NEVER, ALWAYS = 0.0, 1.0  # shares of failures


@given(
    share=st.floats(0, 1),
    events=st.lists(st.tuples(st.booleans(), st.floats(0, 3), st.sampled_from([NEVER, 0.5, 0.51, ALWAYS]))),
)
def test_no_window_has_more_than_its_share(share: float, events: list[tuple[bool, float, float]]) -> None:
    """Against a list of everything that happened: at each attempt that counts, and in any order of events."""
    budget, now = RetryBudget(share), 1_000.0
    requests: list[int] = []
    extra: list[int] = []
    for begins, later, fails in events:
        now += later
        oldest = int(now) - WINDOW + 1
        if begins:
            budget.request(now)
            requests.append(int(now))
            continue
        taken = sum(at >= oldest for at in extra)
        room = taken + 1 <= FLOOR + share * sum(at >= oldest for at in requests)
        allowed = budget.allows(fails, now)
        assert allowed == (room or fails <= 0.5)
        if allowed:
            extra.append(int(now))


def test_few_requests_have_the_floor_and_time_gives_it_back() -> None:
    budget = RetryBudget(0.0)
    assert [budget.allows(ALWAYS, 5.0) for _ in range(FLOOR + 2)] == [True] * FLOOR + [False] * 2
    assert budget.refused == 2
    assert not budget.allows(ALWAYS, 5.0 + WINDOW - 1)
    assert budget.allows(ALWAYS, 5.0 + WINDOW)


def test_requests_of_the_whole_window_count() -> None:
    budget = RetryBudget(0.5)
    for at in (5.0, 6.0):
        for _ in range(2 * FLOOR):
            budget.request(at)
    assert sum(budget.allows(ALWAYS, 6.0) for _ in range(10 * FLOOR)) == FLOOR + 2 * FLOOR


def test_healthy_endpoints_are_never_refused() -> None:
    budget = RetryBudget(0.0)
    assert all(budget.allows(NEVER, 5.0) for _ in range(10 * FLOOR))
    assert not budget.allows(ALWAYS, 5.0), "and what they took counts"


def test_an_outage_of_all_hosts_is_not_multiplied() -> None:
    """2,000 requests in ten seconds to three hosts that refuse all of them."""
    fleet = priced(a=1.0, b=2.0, c=3.0)
    for number in range(100):  # by now it is known
        for state in fleet.states.values():
            state.ended(False, number / 100)
    fleet.refresh(10.0)
    assert all(state.fails > 0.5 for state in fleet.states.values())
    attempts = 0
    for number in range(2_000):
        now = 10.0 + number / 200
        wanted = request()
        exchange = Exchange(wanted, plan(fleet, wanted, CHEAPEST, now), retry_budget=fleet.retry_budget)
        commands: list[Command] = exchange.on(Started(now))
        while sent := [one for one in commands if isinstance(one, Send)]:
            attempts += 1
            commands = exchange.on(Failed(sent[0].attempt, Failure(Fault.SERVER, "no", 500), now))
        assert any(isinstance(one, GiveUp) for one in commands) or exchange.phase == "waiting"
    assert attempts <= 1.2 * 2_000 + FLOOR
    assert fleet.retry_budget.refused > 1_000


def test_one_host_that_is_down_costs_no_request() -> None:
    fleet = priced(a=1.0, b=2.0)
    fleet.retry_budget.share = 0.0
    for number in range(10 * FLOOR):
        wanted = request()
        exchange = Exchange(wanted, plan(fleet, wanted, CHEAPEST, 1.0), retry_budget=fleet.retry_budget)
        exchange.on(Started(1.0))
        commands = exchange.on(Failed(1, Failure(Fault.TIMEOUT_FIRST_TOKEN, "silent"), 1.0))
        assert any(isinstance(one, Send) for one in commands), number
