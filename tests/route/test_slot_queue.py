"""Who waits for a place at an endpoint at its `limits.concurrency`, for how long, and who is next."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.exchange import Exchange
from gateway.route.fleet import Fleet
from gateway.route.signals import ClientLeft, Command, Enqueue, Expired, Send, SetTimer, Started
from gateway.route.slot_queue import MORE_TENANTS, STANDING, TURN, SlotQueue, Waiting, line_for
from gateway.types import Attempts, Limits, Score
from tests.route.world import CHEAPEST, plan, priced, request

A = frozenset({"a"})


class One:
    """What waits."""

    def feed(self, event: Any) -> None: ...


@given(
    most=st.integers(1, 20),
    steps=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["push", "pop", "remove"])), max_size=200),
)
def test_the_queue_is_bounded_and_a_flood_displaces_only_itself(most: int, steps: list[tuple[str, str]]) -> None:
    queue = SlotQueue()
    waiting: dict[str, list[One]] = {tenant: [] for tenant in "abcdef"}
    for tenant, step in steps:
        if step == "pop":
            out = queue.pop("a")
            assert (out is None) == (not any(waiting.values()))
            for line in waiting.values():
                if out in line:
                    assert line[0] is out, "in order"
                    line.remove(out)
        elif step == "remove":
            if waiting[tenant]:
                queue.remove(waiting[tenant].pop())
        else:
            one = One()
            waiting[tenant].append(one)
            (out,) = queue.push(tenant, Waiting(one, A, 0.0), most) or (None,)
            for other, line in waiting.items():
                if out in line:
                    assert len(line) >= max(map(len, waiting.values())) - (other == tenant), "the one with most waiting"
                    assert len(line) > 1 or len(waiting[tenant]) == 1
                    line.remove(out)
        assert queue.size == sum(map(len, waiting.values())) <= most + MORE_TENANTS


def test_tenants_take_turns() -> None:
    queue = SlotQueue()
    owners: dict[int, str] = {}
    ones = []
    for tenant in "aaaaabbc":
        one = One()
        ones.append(one)
        owners[id(one)] = tenant
        assert queue.push(tenant, Waiting(one, A, 0.0), 100) == []
    assert "".join(owners[id(queue.pop("a"))] for _ in range(8)) == "abcabaaa"
    assert queue.pop("a") is None


def test_a_place_elsewhere_is_for_those_that_want_it() -> None:
    queue = SlotQueue()
    one, two = One(), One()
    queue.push("t", Waiting(one, A, 0.0), 10)
    queue.push("t", Waiting(two, frozenset({"a", "b"}), 0.0), 10)
    assert queue.pop("b") is two
    assert queue.pop("b") is None
    assert queue.pop("a") is one


def full(*names: str, concurrency: int = 1_000, **prices: float) -> Fleet:
    """These endpoints have as many requests in flight as they may have."""
    fleet = priced(**prices)
    states = fleet.states.values()
    limits = Limits(concurrency=concurrency)
    fleet.configure([replace(one.endpoint, limits=limits) for one in states])
    for name in names:
        for _ in range(concurrency):
            fleet.states[name].sent(1.0, 1.0)
    return fleet


def started(fleet: Fleet, queues: bool = True) -> tuple[Exchange, list[Command]]:
    wanted = request()
    exchange = Exchange(wanted, plan(fleet, wanted, CHEAPEST, 1.0), queues=queues)
    return exchange, exchange.on(Started(1.0))


def kinds(commands: list[Command]) -> list[str]:
    return [
        f"{one.timer}" if isinstance(one, SetTimer) else type(one).__name__
        for one in commands
        if not (isinstance(one, SetTimer) and one.timer == "keepalive")
    ]


def test_all_are_full_and_one_gets_a_place() -> None:
    fleet = full("a", "b", a=1.0, b=2.0)
    exchange, commands = started(fleet)
    assert kinds(commands) == ["queue", "Enqueue"]
    (line,) = [one.line for one in commands if isinstance(one, Enqueue)]
    assert line.endpoints == {"a", "b"}
    assert 1 <= line.most < 1_000
    assert kinds(exchange.on(Expired("place", 0, 1.1))) == ["Enqueue"], "another request was faster"
    fleet.states["b"].done()
    sent = exchange.on(Expired("place", 0, 1.1))
    assert [one.choice.endpoint.id for one in sent if isinstance(one, Send)] == ["b"]
    assert exchange.on(Expired("queue", 0, 1.2)) == []
    assert exchange.on(Expired("place", 0, 1.2)) == []


def test_without_a_place_in_time_it_is_shed() -> None:
    exchange, _ = started(full("a", a=1.0))
    assert kinds(exchange.on(Expired("queue", 0, 1.2))) == ["Shed"]
    assert exchange.phase == "over"


def test_a_client_may_leave_the_queue() -> None:
    exchange, _ = started(full("a", a=1.0))
    assert kinds(exchange.on(ClientLeft(1.1))) == ["Abandon"]


def test_a_better_endpoint_is_worth_a_wait_and_then_it_goes_elsewhere() -> None:
    exchange, commands = started(full("a", a=1.0, b=2.0))
    assert [one.line.endpoints for one in commands if isinstance(one, Enqueue)] == [A]
    sent = exchange.on(Expired("queue", 0, 1.2))
    assert [one.choice.endpoint.id for one in sent if isinstance(one, Send)] == ["b"]


@pytest.mark.parametrize(
    ("fleet", "queues"),
    [
        (full("b", a=1.0, b=2.0), True),  # the best one is free
        (full(a=1.0, b=2.0), True),
        (full("a", concurrency=2, a=1.0, b=2.0), True),  # no place is expected in time
        (full("a", a=1.0), False),
    ],
)
def test_others_go_at_once(fleet: Fleet, queues: bool) -> None:
    _, commands = started(fleet, queues)
    assert kinds(commands)[0] == "Send"


def test_a_wait_that_costs_more_than_the_free_endpoint_is_not_worth_it() -> None:
    fleet = full("a", a=1.0, b=1.01)
    wanted = request()
    hasty, patient = (replace(CHEAPEST, score=Score(value_of_time=usd, failure_cost=0.0)) for usd in (36.0, 0.0))
    assert line_for(plan(fleet, wanted, hasty, 1.0)) is None
    assert line_for(plan(fleet, wanted, patient, 1.0)) is not None


def test_a_policy_may_forbid_it() -> None:
    fleet = full("a", a=1.0)
    wanted = request()
    never = replace(CHEAPEST, attempts=Attempts(queue=0.0))
    assert line_for(plan(fleet, wanted, never, 1.0)) is None


def test_as_many_wait_as_places_become_free_in_time() -> None:
    """1,000 at once that take about as long as the plan says."""
    fleet = full("a", a=1.0)
    wanted = request()
    made = plan(fleet, wanted, CHEAPEST, 1.0)
    line = line_for(made)
    assert line is not None
    assert made.first is not None
    assert line.most == int(0.2 * 1_000 / made.first.parts.seconds)


def test_fair_over_time() -> None:
    """A flood of one tenant has a queue full at any moment; another one's requests get every second place."""
    queue = SlotQueue()
    tenants: dict[int, str] = {}
    served: Counter[str] = Counter()
    shed: Counter[str] = Counter()
    for number in range(3_000):
        for tenant in ("flood",) * 5 + ("few",) * (number % 2):
            one = One()
            tenants[id(one)] = tenant
            for loser in queue.push(tenant, Waiting(one, A, 0.0), 10):
                shed[tenants[id(loser)]] += 1
        out = queue.pop("a")
        served[tenants[id(out)]] += 1
    assert served["few"] >= 1_499, "the last one still waits"
    assert not shed["few"]


class Overload:
    """A queue, with requests at even distances, and each one's wait until it is shed."""

    def __init__(self, every: float) -> None:
        self.queue = SlotQueue()
        self.every = every
        self.now = 1_000.0  # the clock runs since the machine's start
        self.since: dict[int, float] = {}
        self.ones: list[One] = []  # ids stay unique
        self.waits: list[float] = []

    def arrive(self, tenant: str, most: int = 16) -> None:
        self.now += self.every
        one = One()
        self.ones.append(one)
        self.since[id(one)] = self.now
        for loser in self.queue.push(tenant, Waiting(one, A, self.now), most):
            self.waits.append(self.now - self.since[id(loser)])


def test_a_burst_may_wait_its_time() -> None:
    load = Overload(every=0.01)
    for _ in range(int(STANDING / 0.01)):
        load.arrive("t", most=100)
    assert load.waits == []
    load.now += 2 * STANDING
    for _ in range(int(STANDING / 0.01)):
        load.arrive("t", most=100)
    assert load.waits == [], "a pause ends what was before"


@pytest.mark.parametrize("every", [0.001, 0.004, 0.015])
def test_in_a_lasting_overload_none_waits_long_and_one_always_waits(every: float) -> None:
    load = Overload(every)
    for _ in range(int(STANDING / every) + 2):
        load.arrive("t")
    load.waits.clear()
    for _ in range(1_000):
        load.arrive("t")
        assert load.queue.size >= 1, "for the next place"
        assert load.now - load.queue._tenants["t"][0].since < TURN + 2 * every, "those that still wait"
    assert max(load.waits) < TURN + 2 * every


def test_in_a_lasting_overload_a_tenants_only_request_waits_on() -> None:
    load = Overload(0.004)
    for _ in range(200):
        load.arrive("flood")
    load.arrive("few")
    load.waits.clear()
    for _ in range(40):
        load.arrive("flood")
    assert max(load.waits) < TURN + 0.01
    popped = [load.queue.pop("a") for _ in range(2)]
    assert load.ones[200] in popped


@given(
    most=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.001, 0.03, 0.2, 1.0])), max_size=80),
)
def test_what_is_turned_away_would_have_been_shed(most: int, steps: list[tuple[str, float]]) -> None:
    """Before the request is known: at once, or while it replaces nothing that waits for longer than a turn."""
    load = Overload(0.0)
    for tenant, pause in steps:
        load.now += pause
        line = load.queue._tenants.get(tenant, ())
        if load.queue.turns_away(tenant, load.now):
            young = load.now - line[-1].since < TURN
            count = len(load.waits)
            load.arrive(tenant, most)
            assert young or load.waits[count:] == [0.0]
        else:
            count = len(load.waits)
            load.arrive(tenant, most)
            assert 0.0 not in load.waits[count:] or not line or load.queue.size <= most + MORE_TENANTS


def test_a_fleet_turns_away_where_every_endpoint_is_full() -> None:
    fleet = full("a", "b", concurrency=1, a=1.0, b=2.0)
    assert not fleet.turns_away("t", 1.0), "it may wait"
    fleet.slots.push("t", Waiting(One(), A, 1.0), 1)
    assert fleet.turns_away("t", 1.0)
    assert not fleet.turns_away("other", 1.0)
    fleet.states["b"].done()
    assert not fleet.turns_away("t", 1.0)
    fleet.states["b"].breaker.trip(1.0, 0.5, "401")
    assert fleet.turns_away("t", 1.0), "the free one is not used"
