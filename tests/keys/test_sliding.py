"""Limits per minute slide: quotas of several workers with the script in a real store, on clocks that the test moves."""

import math
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.keys.limit_store import _SCRIPT
from gateway.keys.meter import Grant, Meter
from gateway.keys.period import MINUTE
from gateway.keys.quota import Quota

BOUND = 1_000
START = 1_800_000_000.0  # a minute begins
EVERY = 0.5  # seconds between two exchanges of a worker with the store
FAR = 4_000_000_000


class Limited:
    """Workers with one limit over one store. The clock of each is `ahead` by so many seconds."""

    def __init__(self, client: redis.Redis, ahead: tuple[float, ...] = (0.0, 0.0, 0.0)) -> None:
        client.flushdb()
        self.client = client
        self.now = START
        self.ahead = ahead
        self.quotas = [self.quota(worker) for worker in range(len(ahead))]
        self.flying: list[list[tuple[Meter, int]]] = [[] for _ in ahead]
        self.taken: Counter[int] = Counter()  # by requests, in flight or over, in the minute that begins then
        self.passed: list[tuple[float, int]] = []  # when, and how much
        self.names = [f"w{worker}" for worker in range(len(ahead))]
        self.live: list[set[Meter]] = [set() for _ in ahead]  # what the store has to know of

    def quota(self, worker: int) -> Quota:
        return Quota("key", "t", "tokens_per_minute", BOUND, self.clock(worker), worker)

    def clock(self, worker: int) -> float:
        return self.now + self.ahead[worker]

    def request(self, worker: int, amount: int) -> bool:
        """Whether it is served."""
        if not self.reserve(worker, amount):
            self.exchange(worker, amount)
            return self.reserve(worker, amount)
        return True

    def reserve(self, worker: int, amount: int) -> bool:
        meter = self.quotas[worker].at(self.clock(worker))
        if not meter.reserve(amount):
            return False
        self.flying[worker].append((meter, amount))
        self.taken[meter.period.start] += amount
        self.passed.append((self.now, amount))
        return True

    def settle(self, worker: int, share: float) -> None:
        if self.flying[worker]:
            meter, reserved = self.flying[worker].pop()
            used = int(reserved * share)
            meter.settle(reserved, used)
            self.taken[meter.period.start] -= reserved - used

    def exchange(self, worker: int, needed: int = 0, lost: bool = False) -> None:
        """All meters of the worker that the store has to know of."""
        quota, now = self.quotas[worker], self.clock(worker)
        current = quota.at(now)
        for meter in [*self.live[worker] - {current}, current]:
            amount = needed if meter is current else 0
            request = meter.share_request(amount, amount, now)
            if request is None:
                continue
            self.live[worker].add(meter)
            arguments = [meter.bound, *request, FAR, self.names[worker], meter.period.left(now)]
            ((granted, total, held, workers, short, origin, before),) = self.client.eval(  # type: ignore[misc]
                _SCRIPT.text, 3, *quota.keys(meter), *arguments
            )
            if not lost:
                meter.granted(request, Grant(granted, total, held, workers, short == 1, origin, before))

    def wait(self, seconds: float) -> None:
        while seconds > 0:
            self.now += min(EVERY, seconds)
            seconds -= EVERY
            for worker in range(len(self.ahead)):
                self.exchange(worker)

    def die(self, worker: int) -> None:
        """kill -9, and another worker in its place."""
        self.flying[worker].clear()
        self.live[worker].clear()
        self.quotas[worker] = self.quota(worker)
        self.names[worker] += "x"

    @property
    def counted(self) -> int:
        """This minute and what counts of the minute before, on the clock that is ahead of the others."""
        now = self.now + max(self.ahead)
        start = int(now // MINUTE) * MINUTE
        return self.taken[start] + math.floor(self.taken[start - MINUTE] * (start + MINUTE - now) / MINUTE)

    def most(self, seconds: float) -> int:
        """The most that was taken within so many seconds, by what was reserved."""
        sums = (sum(amount for at, amount in self.passed if since <= at < since + seconds) for since, _ in self.passed)
        return max(sums, default=0)


@pytest.fixture(scope="module")
def store(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as client:
        yield client


workers = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("request"), workers, st.integers(1, 400)),
        st.tuples(st.just("many"), workers, st.integers(1, 40)),
        st.tuples(st.just("lost"), workers, st.integers(1, 400)),
        st.tuples(st.just("settle"), workers, st.integers(0, 100)),
        st.tuples(st.just("wait"), workers, st.integers(1, 300)),  # tenths of a second
        st.tuples(st.just("border"), workers, st.integers(-9, 9)),  # tenths of a second from it
        st.tuples(st.just("die"), workers, st.just(0)),
    ),
    max_size=25,
)


def play(fleet: Limited, steps: list[tuple[str, int, int]]) -> None:
    for kind, worker, number in steps:
        if kind == "request":
            fleet.request(worker, number)
        elif kind == "many":
            while fleet.request(worker, number):
                fleet.settle(worker, 1.0)
        elif kind == "lost":
            fleet.exchange(worker, number, lost=True)
        elif kind == "settle":
            fleet.settle(worker, number / 100)
        elif kind == "wait":
            fleet.wait(number / 10)
        elif kind == "border":
            fleet.wait(MINUTE - fleet.now % MINUTE + number / 10)
        else:
            fleet.die(worker)
        assert fleet.counted <= BOUND
        assert all(quota.meter.free >= 0 for quota in fleet.quotas)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_across_borders_never_more_is_granted_than_the_bound(
    store: redis.Redis, steps: list[tuple[str, int, int]]
) -> None:
    """Whatever the order of requests, ends, lost replies and deaths of workers."""
    play(Limited(store), steps)


@settings(max_examples=30, deadline=None)
@given(steps, st.lists(st.floats(0, 5), min_size=3, max_size=3))
def test_clocks_that_differ_grant_no_more(
    store: redis.Redis, steps: list[tuple[str, int, int]], ahead: list[float]
) -> None:
    play(Limited(store, (ahead[0], ahead[1], ahead[2])), steps)


@settings(max_examples=30, deadline=None)
@given(steps, st.floats(1, MINUTE))
def test_a_shorter_time_has_no_more_than_the_bound_and_its_part_of_it(
    store: redis.Redis, steps: list[tuple[str, int, int]], seconds: float
) -> None:
    """The error of a sliding window that counts by minutes: the minute before is taken to be evenly used."""
    fleet = Limited(store)
    play(fleet, [one for one in steps if one[0] != "settle"])
    assert fleet.most(seconds) <= BOUND * (1 + seconds / MINUTE) + 1


def test_a_border_lets_no_second_minute_through(store: redis.Redis) -> None:
    fleet = Limited(store)
    fleet.wait(59.5)
    assert fleet.request(0, BOUND)
    fleet.wait(1.0)
    assert not fleet.request(1, BOUND // 20)
    fleet.wait(29.5)
    assert fleet.request(1, BOUND // 2)
    assert not fleet.request(2, BOUND // 20)


def test_a_store_that_lost_its_data_does_not_forget_the_minute_before(store: redis.Redis) -> None:
    fleet = Limited(store)
    fleet.wait(59.5)
    assert fleet.request(0, BOUND)
    fleet.settle(0, 1.0)
    fleet.wait(1.0)
    store.flushdb()
    for _ in range(3):
        assert not fleet.request(0, BOUND // 20)
        fleet.wait(0.5)
    assert fleet.counted <= BOUND


def test_what_was_reserved_in_the_minute_before_and_not_used_is_left_again(store: redis.Redis) -> None:
    fleet = Limited(store)
    fleet.wait(59.5)
    assert fleet.request(0, BOUND)
    fleet.wait(1.0)
    fleet.settle(0, 0.0)
    assert fleet.request(0, BOUND // 10)
    assert fleet.quotas[0].meter.left == BOUND - BOUND // 10


def test_without_the_store_a_part_of_what_slides_free_is_granted(store: redis.Redis) -> None:
    fleet = Limited(store, (0.0,))
    fleet.wait(59.5)
    assert fleet.request(0, BOUND)
    fleet.settle(0, 1.0)
    fleet.exchange(0)
    quota, most = fleet.quotas[0], BOUND // 8  # a quarter of the half that is free after half a minute
    fleet.now = START + MINUTE + 0.1
    assert not quota.at(fleet.now).grant_locally(10, 1)
    fleet.now = START + MINUTE + 30
    assert not quota.at(fleet.now).grant_locally(most + 1, 1)
    assert quota.at(fleet.now).grant_locally(most, 1)
    assert fleet.reserve(0, most)
    assert not quota.at(fleet.now).grant_locally(1, 1)
    assert fleet.counted <= BOUND


def test_a_minute_is_used_up_by_steady_requests(store: redis.Redis) -> None:
    """Each second three requests, which together need twice the bound: one half is served, minute after minute."""
    fleet = Limited(store)
    served = [0] * 4
    for second in range(4 * MINUTE):
        for worker in range(3):
            if fleet.request(worker, 11):
                fleet.settle(worker, 1.0)
                served[second // MINUTE] += 11
        fleet.wait(1.0)
    assert all(0.85 * BOUND <= one <= BOUND for one in served[1:])


def test_a_share_is_carried_over_into_the_next_minute(store: redis.Redis) -> None:
    """The first requests of a minute do not wait for the store."""
    fleet = Limited(store)
    for _ in range(2 * MINUTE - 1):
        assert fleet.request(0, 5)
        fleet.settle(0, 1.0)
        fleet.wait(0.5)
    free = fleet.quotas[0].meter.free
    fleet.wait(0.5)
    assert fleet.now % MINUTE == 0
    assert free > 5
    assert 5 <= fleet.quotas[0].meter.free <= free
    assert fleet.reserve(0, 5)


def test_what_is_carried_over_leaves_room_for_what_others_take_meanwhile(store: redis.Redis) -> None:
    """The store learns a little after the border that a share was carried over."""
    fleet = Limited(store)
    fleet.now += 59.9
    fleet.exchange(0, BOUND // 2)
    assert fleet.request(1, BOUND // 2)
    fleet.now = START + MINUTE
    carried = fleet.quotas[0].at(fleet.now).free
    fleet.now += 0.9 * EVERY
    while fleet.request(1, 1):
        pass
    assert fleet.reserve(0, carried)
    assert BOUND - 30 < fleet.counted <= BOUND


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 250)), min_size=1, max_size=12), st.integers(1, BOUND))
def test_a_request_fits_when_it_is_said_to_and_not_before(
    store: redis.Redis, before: list[tuple[int, int]], amount: int
) -> None:
    fleet = Limited(store, (0.0,))
    for taken, tenths in before:
        if fleet.request(0, taken):
            fleet.settle(0, 1.0)
        fleet.wait(tenths / 10)
    fleet.exchange(0, amount)
    meter = fleet.quotas[0].at(fleet.now)
    if not meter.exhausts(amount):
        return
    at = meter.fits_at(amount)
    assert fleet.now - 1e-6 <= at <= fleet.now + 2 * MINUTE
    for moment, fits in ((at - 0.01, False), (at + 0.01, True)):
        if moment > fleet.now:
            fleet.now = moment
            assert fleet.request(0, amount) == fits


def test_all_of_a_limit_is_left_when_it_is_said_to_reset(store: redis.Redis) -> None:
    fleet = Limited(store, (0.0,))
    fleet.wait(20)
    fleet.request(0, 300)
    fleet.settle(0, 1.0)
    meter = fleet.quotas[0].meter
    assert meter.empty_at() == START + 2 * MINUTE
    fleet.now = START + 2 * MINUTE
    assert fleet.quotas[0].at(fleet.now).left == BOUND
