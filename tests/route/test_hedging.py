"""A second attempt beside a late one: exchanges as scripts, then any events at all against the budget."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.exchange import Exchange
from gateway.route.hedge import EVERY, USED, Budget
from gateway.route.signals import Book, ClientLeft, Event, Expired, Finished, FirstToken, Send, Started
from gateway.types import Attempts, Delay, Hedge, Policy
from tests.route.playbook import ONE_EACH, Playbook, failed
from tests.route.watched import Watched, happenings
from tests.route.world import plan, priced, request

RULE = Hedge(Delay(seconds=2.0), 1.0, 1.0)
POLICY = replace(ONE_EACH, hedge=RULE)
ONCE = replace(POLICY, attempts=Attempts(max=1))


def saved(rule: Hedge = RULE) -> Budget:
    budget = Budget(rule)
    budget.begin()
    budget.spent(1.0)
    return budget


def late(*names: str, policy: Policy = POLICY) -> Playbook:
    """A streamed exchange whose first attempt has just become late."""
    return (
        Playbook(*names, policy=policy, budget=saved(policy.hedge))
        >> Started(0.0)
        << "send 1 to a, timer hedge 2, timer keepalive 10"
        >> Expired("hedge", 1, 2.0)
    )


def hedged(*names: str, policy: Policy = POLICY) -> Playbook:
    """One whose second attempt runs beside the first."""
    return late(*names, policy=policy) << "timer first_token 8, send 2 to b, timer first_token 10"


# --- the race ---------------------------------------------------------------------------------------------------


def test_the_second_wins() -> None:
    assert (
        hedged("a", "b", "c")
        >> FirstToken(2, 3.0)
        << "commit 2, cancel 1, book 1 cancelled (beaten), timer gap 30"
        >> Finished(2, 4.0)
        << "book 2 ok (won), complete 2"
    )


def test_the_first_wins_after_all() -> None:
    assert (
        hedged("a", "b", "c")
        >> FirstToken(1, 3.0)
        << "commit 1, cancel 2, book 2 cancelled (lost), timer gap 30"
        >> FirstToken(2, 3.1)
        >> Finished(2, 3.2)
        >> Finished(1, 4.0)
        << "book 1 ok, complete 1"
    )


def test_the_second_wins_and_breaks() -> None:
    assert (
        hedged("a", "b", "c")
        >> FirstToken(2, 3.0)
        << "commit 2, cancel 1, book 1 cancelled (beaten), timer gap 30"
        >> failed(2, "cut", 4.0)
        << "cancel 2, book 2 cut (won), break 2 cut"
    )


def test_one_that_ends_without_a_first_token_is_first_as_well() -> None:
    assert (
        hedged("a", "b", "c")
        >> Finished(1, 3.0)
        << "commit 1, cancel 2, book 2 cancelled (lost), book 1 ok, complete 1"
    )


# --- failures ---------------------------------------------------------------------------------------------------


def test_a_second_that_fails_leaves_the_first() -> None:
    assert (
        hedged("a", "b", "c")
        >> failed(2, "server", 4.0)
        << "cancel 2, book 2 server (failed)"
        >> FirstToken(1, 5.0)
        << "commit 1, timer gap 30"
    )


def test_a_first_that_fails_leaves_the_second() -> None:
    assert (
        hedged("a", "b", "c")
        >> failed(1, "server", 4.0)
        << "cancel 1, book 1 server"
        >> FirstToken(2, 5.0)
        << "commit 2, timer gap 30"
        >> Finished(2, 6.0)
        << "book 2 ok (won), complete 2"
    )


def test_when_both_have_failed_the_next_is_tried_and_not_hedged_again() -> None:
    assert (
        hedged("a", "b", "c", "d")
        >> failed(1, "server", 4.0)
        << "cancel 1, book 1 server"
        >> failed(2, "server", 4.0)
        << "cancel 2, book 2 server (failed), send 3 to c, timer first_token 10"
    )


def test_when_both_have_failed_and_nothing_is_left_it_gives_up() -> None:
    assert (
        late("a", "b")
        << "timer first_token 8, send 2 to b, timer first_token 58"
        >> failed(2, "server", 4.0)
        << "cancel 2, book 2 server (failed)"
        >> Expired("first_token", 1, 10.0)
        << "cancel 1, book 1 timeout_first_token, give up b:server a:timeout_first_token"
    )


def test_a_first_without_a_token_in_time_leaves_the_second() -> None:
    assert (
        hedged("a", "b", "c")
        >> Expired("first_token", 1, 10.0)
        << "cancel 1, book 1 timeout_first_token"
        >> Expired("first_token", 2, 12.0)
        << "cancel 2, book 2 timeout_first_token (failed), send 3 to c, timer first_token 48"
    )


@pytest.mark.parametrize(
    ("attempt", "other"), [(1, "cancel 2, book 2 cancelled (cancelled)"), (2, "cancel 1, book 1 cancelled")]
)
def test_a_malformed_request_ends_both(attempt: int, other: str) -> None:
    name = "ab"[attempt - 1]
    result = " (failed)" if attempt == 2 else ""
    assert (
        hedged("a", "b", "c")
        >> failed(attempt, "malformed", 4.0)
        << f"cancel {attempt}, book {attempt} malformed{result}, {other}, give up {name}:malformed"
    )


def test_two_rejections_are_the_answer() -> None:
    assert (
        hedged("a", "b", "c")
        >> failed(2, "rejected", 4.0)
        << "cancel 2, book 2 rejected (failed)"
        >> failed(1, "rejected", 4.0)
        << "cancel 1, book 1 rejected, give up b:rejected a:rejected"
    )


# --- the client -------------------------------------------------------------------------------------------------


def test_the_client_leaves_while_both_run() -> None:
    assert (
        hedged("a", "b", "c")
        >> ClientLeft(3.0)
        << "cancel 1, book 1 cancelled, cancel 2, book 2 cancelled (cancelled), abandon"
    )


def test_the_client_leaves_after_the_second_has_won() -> None:
    assert (
        hedged("a", "b", "c")
        >> FirstToken(2, 3.0)
        << "commit 2, cancel 1, book 1 cancelled (beaten), timer gap 30"
        >> ClientLeft(3.5)
        << "cancel 2, book 2 cancelled (won), abandon"
    )


def test_the_client_is_kept_alive_while_both_run() -> None:
    assert hedged("a", "b", "c") >> Expired("keepalive", 0, 10.0) << "keep alive, timer keepalive 10"


# --- where there is none ----------------------------------------------------------------------------------------


def test_a_policy_without_a_budget_waits() -> None:
    assert Playbook("a", "b") >> Started(0.0) << "send 1 to a, timer first_token 10, timer keepalive 10"


def test_a_whole_answer_is_never_hedged() -> None:
    script = Playbook("a", "b", policy=POLICY, budget=saved(), stream=False, max_tokens=150)
    assert script >> Started(0.0) << "send 1 to a, timer first_token 10"


def test_a_policy_of_one_attempt_never_hedges() -> None:
    script = Playbook("a", "b", policy=ONCE, budget=saved())
    assert script >> Started(0.0) << "send 1 to a, timer first_token 60, timer keepalive 10"


def test_the_last_endpoint_is_not_hedged() -> None:
    script = Playbook("a", policy=POLICY, budget=saved())
    assert script >> Started(0.0) << "send 1 to a, timer first_token 60, timer keepalive 10"


def test_a_delay_beyond_the_first_token_timeout_is_none() -> None:
    patient = replace(POLICY, hedge=replace(RULE, after=Delay(seconds=10.0)))
    script = Playbook("a", "b", policy=patient, budget=saved(patient.hedge))
    assert script >> Started(0.0) << "send 1 to a, timer first_token 10, timer keepalive 10"


def test_an_empty_budget_only_waits_on() -> None:
    assert (
        Playbook("a", "b", policy=POLICY, budget=Budget(replace(RULE, max_share=0.0)))
        >> Started(0.0)
        << "send 1 to a, timer hedge 2, timer keepalive 10"
        >> Expired("hedge", 1, 2.0)
        << "timer first_token 8"
        >> Expired("hedge", 1, 2.0)
        >> Expired("first_token", 1, 10.0)
        << "cancel 1, book 1 timeout_first_token, send 2 to b, timer first_token 50"
    )


def test_a_late_second_try_may_be_hedged_where_the_first_failed_at_once() -> None:
    assert (
        Playbook("a", "b", "c", policy=POLICY, budget=saved())
        >> Started(0.0)
        << "send 1 to a, timer hedge 2, timer keepalive 10"
        >> failed(1, "refused", 0.1)
        << "cancel 1, book 1 refused, send 2 to b, timer hedge 2"
        >> Expired("hedge", 1, 2.0)
        >> Expired("hedge", 2, 2.1)
        << "timer first_token 8, send 3 to c, timer first_token 57.9"
    )


def test_a_prompt_that_is_too_large_to_be_read_twice_is_not_hedged() -> None:
    rule = Hedge(Delay(quantile=0.95), 1.0, 1.0)
    budget = saved(rule)
    for number in range(2 * EVERY):
        budget.add_wait(2.0, 1_000) if number % 100 else budget.add_wait(9.0, 1_000)
    policy = replace(ONE_EACH, hedge=rule)
    small = Playbook("a", "b", policy=policy, budget=budget, prompt_tokens=1_000)
    assert small >> Started(0.0) << "send 1 to a, timer hedge 2, timer keepalive 10"
    large = Playbook("a", "b", policy=policy, budget=budget, prompt_tokens=10_000)
    assert large >> Started(0.0) << "send 1 to a, timer first_token 15, timer keepalive 10"


def test_a_probe_is_hedged_like_any_other_and_keeps_its_short_clock() -> None:
    script = Playbook("a", "b", "c", policy=POLICY, budget=saved())
    state = script.exchange.plan.ranked[0].state
    state.breaker.trip(-100.0, 0.0, "server")
    timeout = 3 * state.waits.p95[0]
    assert (
        script
        >> Started(0.0)
        << "send 1 to a, timer hedge 2, timer keepalive 10"
        >> Expired("hedge", 1, 2.0)
        << f"timer first_token {timeout - 2:g}, send 2 to b, timer first_token 10"
    )


# --- what one request teaches the next ----------------------------------------------------------------------------


def test_when_a_request_is_late_is_learned_from_the_first_tokens_of_others() -> None:
    policy = replace(ONE_EACH, hedge=Hedge(Delay(quantile=0.97), 1.0, 1.0))
    budget = saved(policy.hedge)
    for _ in range(EVERY):
        exchange = Playbook("a", "b", policy=policy, budget=budget).exchange
        for event in (Started(0.0), FirstToken(1, 4.0), Finished(1, 5.0)):
            exchange.on(event)
    script = Playbook("a", "b", policy=policy, budget=budget)
    assert script >> Started(0.0) << "send 1 to a, timer hedge 4, timer keepalive 10"


def test_where_many_requests_are_late_none_is_sent_twice() -> None:
    """The hosts are saturated: more load would only slow them further, however much was saved for hedges."""
    budget = saved()
    sent = []
    for _ in range(100):
        budget.spent(1.0)
        exchange = Playbook("a", "b", policy=POLICY, budget=budget).exchange
        exchange.on(Started(0.0))
        sent.append(any(isinstance(one, Send) for one in exchange.on(Expired("hedge", 1, 2.0))))
        exchange.on(ClientLeft(3.0))
    assert sent[:10] == [True] * 10
    assert sent[-50:] == [False] * 50


# --- the bill ---------------------------------------------------------------------------------------------------


class Ledger(Budget):
    """A budget that writes down what it is billed for races, and how long first tokens took."""

    __slots__ = ("entries", "waits")

    def __init__(self, rule: Hedge) -> None:
        super().__init__(rule)
        self.entries: list[tuple[str, float, float]] = []
        self.waits: list[tuple[float, float]] = []

    def add_wait(self, seconds: float, uncached: float) -> None:
        self.waits.append((seconds, uncached))
        super().add_wait(seconds, uncached)

    def released(self, at_stake: float) -> None:
        if at_stake:
            self.entries.append(("released", at_stake, 0.0))
        super().released(at_stake)

    def settled(self, at_stake: float, usd: float, uncached: float) -> None:
        self.entries.append(("settled", usd, uncached))
        super().settled(at_stake, usd, uncached)


def race(budget: Budget, *events: Event, cost: float = 0.0015) -> None:
    """A race of 1,000 prompt tokens between a and b, whose attempts cost so much each unless they fail."""
    script = Playbook("a", "b", "c", policy=POLICY, budget=budget, prompt_tokens=1_000)
    for event in (Started(0.0), Expired("hedge", 1, 2.0), *events, ClientLeft(9.0)):
        for command in script.exchange.on(event):
            if isinstance(command, Book):
                script.exchange.paid(command, 0.0 if command.failure else cost)


STAKE = 0.002  # 1,000 tokens at b, the dearer of the two

RACES: dict[str, tuple[list[Event], tuple[str, float, float]]] = {
    "won": ([FirstToken(2, 3.0), Finished(2, 4.0)], ("settled", 0.0015, 1_000.0)),
    "lost": ([FirstToken(1, 3.0), Finished(1, 4.0)], ("settled", 0.0015, 1_000.0)),
    "won, and broke": ([FirstToken(2, 3.0), failed(2, "cut", 4.0)], ("settled", 0.0015, 1_000.0)),
    "ended without a first token": ([Finished(2, 3.0)], ("settled", 0.0015, 1_000.0)),
    "the second failed": ([failed(2, "server", 3.0), FirstToken(1, 4.0)], ("settled", 0.0, 1_000.0)),
    "the first failed": ([failed(1, "server", 3.0), FirstToken(2, 4.0), Finished(2, 5.0)], ("released", STAKE, 0.0)),
    "the client left": ([], ("settled", 0.0015, 1_000.0)),
}


@pytest.mark.parametrize(("events", "entry"), RACES.values(), ids=RACES.keys())
def test_every_race_is_settled_once_with_the_losers_bill(events: list[Event], entry: tuple[str, float, float]) -> None:
    """The winner's 0 for a won hedge, booked after the loser's bill, would halve what a hedge seems to cost."""
    budget = Ledger(RULE)
    budget.begin()
    while not budget.affords(STAKE):
        budget.spent(0.001)
    race(budget, *events)
    assert budget.entries == [entry]


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        ([FirstToken(1, 3.0)], [(3.0, 1_000.0)]),
        ([FirstToken(2, 3.0)], [(3.0, 1_000.0)]),  # the first has waited as long; the second only began at 2 s
        ([failed(1, "server", 2.5), FirstToken(2, 3.0)], []),
        ([failed(2, "server", 2.5), FirstToken(1, 9.0)], [(9.0, 1_000.0)]),
        ([], []),
    ],
)
def test_what_counts_is_how_long_first_attempts_wait(events: list[Event], waits: list[tuple[float, float]]) -> None:
    budget = Ledger(RULE)
    budget.begin()
    while not budget.affords(STAKE):
        budget.spent(0.001)
    race(budget, *events)
    assert budget.waits == waits


@pytest.mark.parametrize("winner", [1, 2])
def test_what_a_hedge_costs_is_the_same_whichever_wins(winner: int) -> None:
    """Each bills a whole request's cost: with 1 % to spend, 1 % of requests are late."""
    budget = Budget(RULE)
    for _ in range(500):
        budget.spent(0.002)
        race(budget, FirstToken(winner, 3.0), Finished(winner, 4.0), cost=0.002)
    budget.configure(Hedge(Delay(quantile=0.9), 1.0, 0.01))
    waits = [1.0 + number / 1_000 for number in range(8 * EVERY)]
    for seconds in waits:
        budget.add_wait(seconds, 1_000)
    delay = budget.late_after(Playbook("a", prompt_tokens=1_000).exchange.plan.ranked[0])
    assert sum(seconds > delay for seconds in waits) == int(USED * 0.01 * len(waits))


# --- any events, many exchanges, one budget ---------------------------------------------------------------------

LATE = Expired("hedge", 1, 2.0)


@dataclass
class Total:
    """What all exchanges of one policy came to."""

    asked: int = 0
    hedges: int = 0
    spent: float = 0.0
    lost: float = 0.0

    def check(self, rule: Hedge) -> None:
        assert self.hedges <= rule.max_share * self.asked + 1e-9
        assert self.lost <= rule.max_spend * self.spent + 1e-9


@dataclass
class Billed(Watched):
    """One whose cancelled attempts bill their share of what was at stake."""

    total: Total = field(kw_only=True)
    billed: float = field(kw_only=True)

    def feed(self, event: Event) -> None:
        super().feed(event)
        self.total.check(RULE_OF_SHARES)

    def send(self, send: Send) -> None:
        super().send(send)
        self.total.hedges += send.hedge

    def book(self, book: Book) -> None:
        send = self.running[book.attempt]
        super().book(book)
        assert send.hedge == (book.hedge in ("won", "lost", "failed", "cancelled"))
        whole = send.choice.parts.input_usd
        cost = whole * self.billed if book.cancelled else 0.0 if book.failure else whole
        self.total.spent += cost
        self.total.lost += cost if book.hedge not in ("", "won") else 0.0
        self.exchange.paid(book, cost)


RULE_OF_SHARES = Hedge(Delay(seconds=2.0), 0.5, 0.3)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.floats(0.0, 1.0), st.lists(happenings, max_size=8)), max_size=25),
    st.randoms(use_true_random=False),
)
def test_any_events_keep_the_budget_and_end_every_attempt_once(
    stories: list[tuple[int, float, list[Event]]], order: Random
) -> None:
    budget, total = Budget(RULE_OF_SHARES), Total(asked=10, spent=0.1)
    for _ in range(total.asked):
        budget.begin()
        budget.spent(total.spent / total.asked)
    policy = replace(ONE_EACH, hedge=RULE_OF_SHARES)
    fleet = priced(a=1.0, b=2.0, c=3.0, d=4.0)
    asked = request()
    under_way: list[Billed] = []
    for most, billed, noise in stories:
        limited = replace(policy, attempts=Attempts(max=most))
        watched = Billed(Exchange(asked, plan(fleet, asked, limited), budget), at_once=2, total=total, billed=billed)
        total.asked += 1
        under_way.append(watched)
        for event in (Started(0.0), LATE, *noise):
            watched.feed(event)
            order.choice(under_way).feed(order.choice([*noise, LATE]))
    for watched in under_way:
        watched.feed(ClientLeft(100.0))
        assert watched.ends == 1
