"""The limiter over a real store, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import redis

from gateway.config import Bounds, LimitSettings
from gateway.keys import limiter
from gateway.keys.limit_headers import limit_headers
from gateway.keys.limit_reservation import LimitReservation
from gateway.keys.limit_store import LimitStore
from gateway.keys.limiter import Limited, Limiter, Refusal
from gateway.keys.need import Need

DAY_ENDS = datetime(2027, 1, 31, 23, 59, 50, tzinfo=UTC).timestamp()  # ten seconds before midnight, and a month's end
ONE = Need(1, 100, 10_000_000)  # a cent


class Replica:
    """One worker's limits. `now` is its clock."""

    def __init__(self, url: str, bounds: Bounds) -> None:
        self.now = DAY_ENDS
        self.limiter = Limiter(LimitSettings(), LimitStore(url), 1, lambda: self.now, lambda *_: None)
        self.limiter.replace({"t": Limited(bounds, None)}, LimitSettings())
        self.decided: list[LimitReservation | Refusal] = []

    async def ask(self) -> LimitReservation | Refusal:
        quotas = self.limiter.quotas("t", "")
        at_once = self.limiter.reserve(quotas, ONE, self.decided.append)
        while at_once is None and not self.decided:
            await self.limiter.exchange()
        return at_once or self.decided.pop()

    async def served(self, most: int = 20) -> int:
        """How many requests in a row are served, and over at once, before one is refused."""
        for number in range(most):
            result = await self.ask()
            if isinstance(result, Refusal):
                return number
            result.spend(100, ONE.cost * 1_000)
            result.settle()
        return most


Make = Callable[[Bounds], Replica]


@pytest.fixture
async def make(valkey: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(limiter, "WAIT", 0.0)  # what another replica of a test holds, it does not return meanwhile
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    made: list[Replica] = []

    def make(bounds: Bounds) -> Replica:
        made.append(Replica(valkey, bounds))
        return made[-1]

    yield make
    for one in made:
        await one.limiter.close()


@pytest.mark.parametrize("bounds", [Bounds(usd_per_day=0.03), Bounds(usd_per_month=0.03)])
async def test_a_budget_begins_anew_with_its_period(make: Make, bounds: Bounds) -> None:
    one, two = make(bounds), make(bounds)
    assert await one.served() + await two.served() == 3
    one.now = DAY_ENDS + 9.9
    assert await one.served() == 0
    one.now = two.now = DAY_ENDS + 10
    assert await one.served(2) + await two.served() == 3


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [(Bounds(requests_per_minute=4), [0, 1, 0, 1, 0, 1, 1]), (Bounds(tokens_per_minute=400), [0, 0, 0, 1, 0, 1, 2])],
)
async def test_a_limit_per_minute_slides(make: Make, bounds: Bounds, expected: list[int]) -> None:
    """Of four requests at the end of a minute one counts no more after a quarter of the next; parts of one never do."""
    one, two = make(bounds), make(bounds)
    assert await one.served() + await two.served() == 4
    served = []
    for second in (0, 0.1, 14.8, 15.1, 29.8, 30.1, 60):
        one.now = two.now = DAY_ENDS + 10 + second
        served.append(await two.served() + await one.served())
    assert served == expected


async def test_a_clock_that_is_set_back_does_not_bring_a_period_back(make: Make) -> None:
    one = make(Bounds(usd_per_day=0.03))
    assert await one.served() == 3
    one.now = DAY_ENDS + 10
    assert await one.served(1) == 1
    one.now = DAY_ENDS
    assert await one.served() == 2


async def test_a_request_that_ends_in_the_next_period_counts_in_its_own(make: Make) -> None:
    one = make(Bounds(usd_per_day=0.03))
    late = await one.ask()
    assert isinstance(late, LimitReservation)
    one.now = DAY_ENDS + 10
    assert await one.served(1) == 1
    late.spend(100, 3 * ONE.cost * 1_000)
    late.settle()
    assert await one.served() == 2


@pytest.mark.parametrize("bounds", [Bounds(requests_per_minute=1_000_000), Bounds(usd_per_day=100_000.0)])
async def test_the_first_request_of_a_period_does_not_wait(make: Make, bounds: Bounds) -> None:
    one = make(bounds)
    for _ in range(20):
        one.now += 0.4
        assert await one.served(50) == 50
        await one.limiter.exchange()
    one.now = DAY_ENDS + 9
    await one.limiter.exchange()
    one.now = DAY_ENDS + 10
    assert one.limiter.reserve(one.limiter.quotas("t", ""), ONE, one.decided.append) is not None


async def test_a_store_that_was_flushed_goes_on_from_what_is_known(make: Make, valkey: str) -> None:
    one = make(Bounds(usd_per_day=0.05))
    assert await one.served(3) == 3
    await one.limiter.exchange()
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    await one.limiter.exchange()
    assert await one.served() == 2
    assert await make(Bounds(usd_per_day=0.05)).served() == 0


async def test_a_bound_that_is_changed_keeps_what_was_used(make: Make) -> None:
    one = make(Bounds(usd_per_day=0.03))
    assert await one.served() == 3
    one.limiter.replace({"t": Limited(Bounds(usd_per_day=0.05), None)}, LimitSettings())
    assert await one.served() == 2
    one.limiter.replace({}, LimitSettings())
    assert one.limiter.quotas("t", "") == ()


async def test_a_lowered_bound_ends_the_shares_that_were_taken_before(make: Make) -> None:
    one = make(Bounds(usd_per_day=1_000.0))
    for _ in range(5):
        one.now += 0.4
        assert await one.served(10) == 10
        await one.limiter.exchange()
    (quota,) = one.limiter.quotas("t", "")
    assert quota.meter.free > ONE.cost
    one.limiter.replace({"t": Limited(Bounds(usd_per_day=0.02), None)}, LimitSettings())
    assert await one.served() == 0


async def test_a_limit_that_is_removed_and_added_again_keeps_what_was_used(make: Make) -> None:
    """As when a key is disabled for a while. One request is under way meanwhile."""
    limits = {"t": Limited(Bounds(usd_per_day=0.05), None)}
    one, two = make(Bounds(usd_per_day=0.05)), make(Bounds(usd_per_day=0.05))
    late = await one.ask()
    assert await one.served(2) == 2
    for replica in (one, two):
        replica.limiter.replace({}, LimitSettings())
    await one.limiter.exchange()
    for replica in (one, two):
        replica.limiter.replace(limits, LimitSettings())
    assert await one.served(1) == 1
    assert isinstance(late, LimitReservation)
    late.spend(100, ONE.cost * 1_000)
    late.settle()
    await one.limiter.exchange()
    assert await one.served() + await two.served() == 1


async def test_tenants_do_not_share_limits(make: Make) -> None:
    one = make(Bounds(usd_per_day=0.03))
    one.limiter.replace(dict.fromkeys(("t", "u"), Limited(Bounds(usd_per_day=0.03), None)), LimitSettings())
    assert await one.served() == 3
    result = one.limiter.reserve(one.limiter.quotas("u", ""), ONE, one.decided.append)
    await one.limiter.exchange()
    assert result is None
    assert isinstance(one.decided.pop(), LimitReservation)


async def test_headers_of_an_answer_show_the_minute_in_which_it_comes(make: Make) -> None:
    replica = make(Bounds(requests_per_minute=10))
    first = await replica.ask()
    assert isinstance(first, LimitReservation)
    assert await replica.served(3) == 3
    replica.now += 20  # ten seconds into the next minute, where 3 of the 4 still count
    assert await replica.served(3) == 3
    head = dict(limit_headers(first.limits, replica.now))
    assert head[b"x-ratelimit-remaining-requests"] == b"4"
    assert head[b"x-ratelimit-reset-requests"] == b"110s"


async def test_a_flood_of_one_key_leaves_places_in_the_queue(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of `t` is reserved; of its further requests only so many wait, and those of `u` as before."""
    monkeypatch.setattr(limiter, "MOST_EACH", 2)
    monkeypatch.setattr(limiter, "WAIT", 60.0)
    one = make(Bounds(usd_per_day=0.01))
    one.limiter.replace(dict.fromkeys(("t", "u"), Limited(Bounds(usd_per_day=0.01), None)), LimitSettings())
    first = await one.ask()
    for _ in range(5):
        assert one.limiter.reserve(one.limiter.quotas("t", ""), ONE, one.decided.append) is None
    await asyncio.sleep(0)
    assert [one.cause for one in one.decided if isinstance(one, Refusal)] == ["reserved"] * 3
    one.decided.clear()
    assert one.limiter.reserve(one.limiter.quotas("u", ""), ONE, one.decided.append) is None
    await one.limiter.exchange()
    assert len(one.decided) == 1
    assert isinstance(first, LimitReservation)
    for result in (first, one.decided.pop()):
        assert isinstance(result, LimitReservation)
        result.settle()
    while not one.decided:
        await one.limiter.exchange()
    assert isinstance(one.decided[0], LimitReservation)
