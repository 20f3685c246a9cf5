"""The meter of one worker with the script in a real store: never more is granted than the bound."""

import asyncio
from collections.abc import Iterator

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.keys.limit_store import _SCRIPT
from gateway.keys.meter import Grant, Meter
from gateway.keys.period import Period

BOUND = 1_000
KEY = "gw:{limits}:test"
FAR = 4_000_000_000
PERIOD = Period(0, FAR)


class Fleet:
    """Workers with one limit, over one store."""

    def __init__(self, client: redis.Redis, workers: int) -> None:
        self.client = client
        self.now = 0.0
        self.meters = [Meter(BOUND, PERIOD, 0.0) for _ in range(workers)]
        self.names = [f"w{number}" for number in range(workers)]
        self.flying: list[list[int]] = [[] for _ in range(workers)]
        self.used = 0  # by requests that are over
        self.died_with = 0  # in flight at workers that died
        client.flushdb()

    def reserve(self, worker: int, amount: int) -> bool:
        if self.meters[worker].reserve(amount):
            self.flying[worker].append(amount)
            return True
        return False

    def settle(self, worker: int, share: float) -> None:
        if self.flying[worker]:
            reserved = self.flying[worker].pop()
            used = int(reserved * share)
            self.meters[worker].settle(reserved, used)
            self.used += used

    def ask(self, worker: int, needed: int, lost: bool = False) -> Grant | None:
        meter = self.meters[worker]
        request = meter.share_request(needed, needed, self.now)
        if request is None:
            return None
        arguments = [KEY, KEY, KEY, meter.bound, *request, FAR, self.names[worker], 1.0]
        ((granted, total, held, workers, short, origin, before),) = self.client.eval(_SCRIPT.text, 3, *arguments)  # type: ignore[misc]
        grant = Grant(granted, total, held, workers, short == 1, origin, before)
        if not lost:
            meter.granted(request, grant)
        return grant

    def die(self, worker: int) -> None:
        """kill -9, and another worker in its place."""
        self.died_with += sum(self.flying[worker])
        self.flying[worker] = []
        self.meters[worker] = Meter(BOUND, PERIOD, self.now)
        self.names[worker] += "x"

    @property
    def committed(self) -> int:
        return self.used + self.died_with + sum(map(sum, self.flying))


@pytest.fixture(scope="module")
def store(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as client:
        yield client


workers = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("need"), workers, st.integers(1, 400)),
        st.tuples(st.just("lost"), workers, st.integers(1, 400)),
        st.tuples(st.just("settle"), workers, st.integers(0, 100)),
        st.tuples(st.just("sync"), workers, st.integers(0, 20)),
        st.tuples(st.just("die"), workers, st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(steps)
def test_never_more_is_granted_than_the_bound(store: redis.Redis, steps: list[tuple[str, int, int]]) -> None:
    """Whatever the order of requests, ends, lost replies and deaths of workers."""
    fleet = Fleet(store, 3)
    for kind, worker, number in steps:
        fleet.now += 0.1
        if kind == "need":
            if not fleet.reserve(worker, number):
                fleet.ask(worker, number)
                fleet.reserve(worker, number)
        elif kind == "lost":
            fleet.ask(worker, number, lost=True)
        elif kind == "settle":
            fleet.settle(worker, number / 100)
        elif kind == "sync":
            fleet.now += number
            fleet.ask(worker, 0)
        else:
            fleet.die(worker)
        assert fleet.committed <= BOUND
        assert all(meter.free >= 0 and meter.in_flight >= 0 for meter in fleet.meters)
    for worker in range(3):  # once all is over, the sum in the store is what was used or lost with a worker, or more
        while fleet.flying[worker]:
            fleet.settle(worker, 0.5)
        fleet.meters[worker].closed = True
        fleet.ask(worker, 0)
    total = int(store.hget(KEY, "total") or 0)  # type: ignore[arg-type]
    assert fleet.used + fleet.died_with <= total <= BOUND


@settings(max_examples=40, deadline=None)
@given(steps)
def test_without_deaths_everything_is_returned_in_the_end(
    store: redis.Redis, steps: list[tuple[str, int, int]]
) -> None:
    fleet = Fleet(store, 3)
    for kind, worker, number in steps:
        if kind == "settle":
            fleet.settle(worker, number / 100)
        elif kind != "die" and not fleet.reserve(worker, number or 1):
            fleet.ask(worker, number, lost=kind == "lost")
    for worker in range(3):
        while fleet.flying[worker]:
            fleet.settle(worker, 1.0)
        fleet.meters[worker].closed = True
        for _ in range(2):
            fleet.ask(worker, 0)
    assert int(store.hget(KEY, "total") or 0) == fleet.used  # type: ignore[arg-type]


def test_what_a_request_takes_more_than_it_reserved_counts(store: redis.Redis) -> None:
    fleet = Fleet(store, 2)
    fleet.ask(0, 900)
    fleet.reserve(0, 900)
    fleet.settle(0, 1.2)
    fleet.ask(0, 0)
    grant = fleet.ask(1, 10)
    assert grant is not None
    assert (grant.granted, grant.total) == (0, 1_080)
    assert fleet.meters[1].exhausts(10)


def test_what_another_worker_holds_is_returned_when_one_is_short(store: redis.Redis) -> None:
    fleet = Fleet(store, 2)
    for _ in range(10):
        fleet.now += 0.1
        fleet.ask(0, 50)
        fleet.reserve(0, 50)
        fleet.settle(0, 0.1)
    held = fleet.meters[0].held
    assert held > 0
    needed = BOUND - fleet.used
    grant = fleet.ask(1, needed)
    assert grant is not None
    assert (grant.granted, grant.short, fleet.meters[1].exhausts(needed)) == (0, True, False)
    fleet.ask(0, 0)  # learns that another is short
    fleet.ask(0, 0)  # returns
    fleet.ask(1, needed)
    assert fleet.reserve(1, needed)


def test_what_is_too_little_for_each_of_several_workers_is_put_together(store: redis.Redis) -> None:
    fleet = Fleet(store, 3)
    for worker in range(3):
        fleet.ask(worker, 333)
        fleet.reserve(worker, 333)
    for worker in range(3):
        fleet.settle(worker, 0.97)  # nine are free at each
    served = 0
    for _ in range(4):
        for worker in range(3):
            fleet.ask(worker, 20)
            served += fleet.reserve(worker, 20)
    assert served == 1


def test_a_store_that_lost_its_data_goes_on_from_what_workers_know(store: redis.Redis) -> None:
    fleet = Fleet(store, 2)
    for worker, amount in ((0, 300), (1, 200)):
        fleet.ask(worker, amount)
        fleet.reserve(worker, amount)
        fleet.settle(worker, 1.0)
    fleet.ask(0, 1)
    store.flushdb()
    fleet.ask(0, 1)
    fleet.ask(1, 1)
    assert 500 <= int(store.hget(KEY, "total") or 0) <= 510  # type: ignore[arg-type]
    assert fleet.ask(1, 600) is not None
    assert not fleet.reserve(1, 600)


def test_a_lost_reply_is_corrected_by_the_next_call(store: redis.Redis) -> None:
    fleet = Fleet(store, 1)
    for _ in range(5):
        fleet.ask(0, 400, lost=True)
    fleet.ask(0, 400)
    assert int(store.hget(KEY, "total") or 0) == 400  # type: ignore[arg-type]


def test_an_idle_share_is_returned(store: redis.Redis) -> None:
    fleet = Fleet(store, 1)
    for _ in range(30):
        fleet.now += 0.1
        fleet.ask(0, 0)
        if not fleet.reserve(0, 5):
            fleet.ask(0, 5)
            fleet.reserve(0, 5)
        fleet.settle(0, 1.0)
    assert fleet.meters[0].free > 0
    fleet.now += 60
    fleet.ask(0, 0)
    fleet.ask(0, 0)
    assert (fleet.meters[0].free, int(store.hget(KEY, "total") or 0)) == (0, fleet.used)  # type: ignore[arg-type]


def test_most_requests_find_what_they_need_in_the_workers_share(store: redis.Redis) -> None:
    """At a steady rate far below the bound, the store is not asked on the way."""
    fleet = Fleet(store, 1)
    fleet.meters[0].bound = 1_000_000
    waited = 0
    for _ in range(50):
        fleet.now += 0.5
        fleet.ask(0, 0)
        for _ in range(20):
            if not fleet.reserve(0, 10):
                waited += 1
                fleet.ask(0, 10)
                assert fleet.reserve(0, 10)
            fleet.settle(0, 0.5)
    assert waited <= 40  # of 1,000: in the first second


def test_alone_a_worker_grants_itself_a_part_of_what_was_left() -> None:
    meter = Meter(BOUND, PERIOD, 0.0)
    granted = 0
    while meter.grant_locally(10, 4):
        assert meter.reserve(10)
        granted += 10
    assert 50 <= granted <= BOUND // 16 + 1
    assert meter.taken == granted


def test_the_store_learns_what_was_granted_without_it(store: redis.Redis) -> None:
    fleet = Fleet(store, 2)
    fleet.ask(1, 100)
    fleet.reserve(1, 100)
    assert fleet.meters[0].grant_locally(50, 1)
    assert fleet.reserve(0, 50)
    grant = fleet.ask(0, 0)
    assert grant is not None
    assert grant.total == 150


def test_meters_do_not_need_a_loop() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert not Meter(BOUND, PERIOD, 0.0).reserve(1)
