"""Rates of several workers: a limit holds for all of them together, and a 429 to one holds for the others."""

from itertools import permutations
from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.minute import Slice
from gateway.route.posted import Posted
from gateway.route.ratelimit import AFTER_429, BELIEVED, LEARNED_KEPT, RateLimit, Rates
from gateway.types import Limits
from tests.route.world import NOW


def worker(rpm: int | None = None, tpm: int | None = None, workers: int = 1) -> RateLimit:
    rates = RateLimit()
    rates.publish(Limits(rpm, tpm), workers)
    return rates


def send(rates: RateLimit, count: int, now: float = NOW, tokens: float = 100.0) -> None:
    for _ in range(count):
        rates.sent(tokens, now)


def posted(rates: RateLimit, now: float = NOW, age: float = 0.0, name: bytes = b"other") -> Posted[Rates | None]:
    """What this worker published `age` seconds before `now`."""
    return Posted(name, now - age, age, rates.own(now - age))


def exchange(workers: list[RateLimit], now: float) -> None:
    """Each publishes, then each reads the others."""
    messages = [posted(one, now, name=b"%d" % place) for place, one in enumerate(workers)]
    for place, one in enumerate(workers):
        one.merge([message for other, message in enumerate(messages) if other != place], now)


# --- the last minute --------------------------------------------------------------------------------------------


def test_what_others_sent_counts_against_the_limit() -> None:
    here, there = worker(rpm=10), worker(rpm=10)
    send(there, 9)
    send(here, 1)
    assert here.until == 0
    here.merge([posted(there)], NOW)
    assert here.until >= NOW + 60
    assert here.why == "10 of 10 requests a minute are used"


def test_it_may_use_what_the_others_leave() -> None:
    here = worker(rpm=100, workers=2)
    for second in range(30):
        send(here, 3, NOW + second)
        here.merge([Posted(b"idle", NOW, 0.0, None)], NOW + second)
    assert here.until == 0, "90 of 100, where its share would be 50"


def test_tokens_count_too() -> None:
    here, there = worker(tpm=1_000), worker(tpm=1_000)
    send(there, 2, tokens=500)
    here.merge([posted(there)], NOW)
    assert here.why == "1,000 of 1,000 tokens a minute are used"


def test_until_the_next_merge_the_others_are_expected_to_send_as_much() -> None:
    here = worker(rpm=100)
    send(here, 10)
    exchange([here, worker(), worker()], NOW)
    send(here, 29)
    assert here.until == 0
    send(here, 1)
    assert here.until > NOW, "10 and three times 30"


def test_it_is_free_again_when_what_others_sent_is_a_minute_old() -> None:
    here, there = worker(rpm=10), worker(rpm=10)
    send(there, 10, NOW - 40)
    here.merge([posted(there)], NOW)
    assert NOW + 20 <= here.until <= NOW + 25


def test_a_worker_that_dies_is_forgotten() -> None:
    here, there = worker(rpm=10), worker(rpm=10)
    send(there, 10)
    here.merge([posted(there)], NOW)
    here.merge([], NOW + 1)
    assert here.until == 0


def test_without_the_store_it_comes_back_to_its_share() -> None:
    here, there = worker(rpm=10), worker(rpm=10)
    exchange([here, there], NOW)
    later = NOW + 200
    send(here, 4, later)
    assert here.until < later
    send(here, 1, later)
    assert here.until > later


def test_what_is_read_again_is_not_counted_again() -> None:
    here, there = worker(rpm=10), worker(rpm=10)
    send(there, 5)
    for _ in range(3):
        here.merge([posted(there)], NOW)
    assert here.minute.totals[0] == 5


def test_what_was_read_is_not_published() -> None:
    here, there = worker(), worker()
    send(there, 5)
    there.refused(NOW, 30.0, NOW)
    here.merge([posted(there)], NOW)
    assert here.own(NOW) is None


# --- waits and lessons ------------------------------------------------------------------------------------------


def test_a_retry_after_elsewhere_is_kept_here() -> None:
    here, there = worker(), worker()
    there.refused(NOW, 7.0, NOW)
    here.merge([posted(there, NOW + 2, age=2.0)], NOW + 2)
    assert here.until == pytest.approx(NOW + 7)
    assert here.why == "another worker got a Retry-After"


def test_a_wait_that_is_read_again_is_not_believed_for_longer() -> None:
    here, there = worker(), worker()
    there.refused(NOW, 600.0, NOW)
    for second in range(30):
        here.merge([posted(there, NOW + second)], NOW + second)
    assert (here.until, here.retry_at) == (pytest.approx(NOW + 600), NOW + BELIEVED)


def test_the_longer_wait_holds() -> None:
    here, there = worker(), worker()
    here.refused(NOW, 20.0, NOW)
    there.refused(NOW, 7.0, NOW)
    here.merge([posted(there)], NOW)
    assert (here.until, here.why) == (NOW + 20, "a 429 asked to wait")


def test_the_429s_of_all_teach() -> None:
    here, there = worker(), worker()
    for one in (here, there):
        send(one, 15)
        one.refused(NOW, None, NOW)
    here.merge([posted(there)], NOW)
    assert here.limit(0, NOW) == inf
    here.refused(NOW, None, NOW)
    assert here.limit(0, NOW) == AFTER_429 * 30


def test_what_429s_taught_one_is_known_to_all() -> None:
    here, there = worker(), worker()
    send(there, 50)
    for _ in range(5):
        there.refused(NOW, None, NOW)
    here.merge([posted(there, NOW + 60, age=1.0)], NOW + 60)
    assert here.limit(0, NOW + 60) == pytest.approx(1.1 * AFTER_429 * 50)
    assert there.own(NOW + LEARNED_KEPT + 1) is None


def test_the_last_lesson_counts() -> None:
    here, there = worker(), worker()
    for one, count, at in ((there, 50, NOW), (here, 30, NOW + 100)):
        send(one, count, at)
        for _ in range(count // 10):
            one.refused(at, None, at)
    here.merge([posted(there, NOW + 100)], NOW + 100)
    there.merge([posted(here, NOW + 100)], NOW + 100)
    assert here.limit(0, NOW + 100) == there.limit(0, NOW + 100) == AFTER_429 * 30


# --- what holds always ------------------------------------------------------------------------------------------

slices: st.SearchStrategy[list[Slice]] = st.lists(
    st.tuples(st.integers(0, 100_000), st.integers(0, 99), st.integers(0, 9_999), st.integers(0, 9)), max_size=13
)
rates = st.builds(
    Rates,
    slices,
    st.integers(0, 90_000),
    st.none() | st.tuples(st.integers(0, 900_000), st.integers(1, 999), st.integers(1, 99_999)),
)
messages = st.lists(
    st.builds(Posted, st.sampled_from([b"1", b"2", b"3"]), st.just(0.0), st.floats(0.0, 60.0), st.none() | rates),
    max_size=3,
    unique_by=lambda one: one.worker,
)


@given(messages)
def test_neither_order_nor_repetition_matters(others: list[Posted[Rates | None]]) -> None:
    found = set()
    for order in permutations(others):
        here = worker(rpm=100, tpm=10_000)
        send(here, 3)
        for _ in range(2):
            here.merge(order, NOW)
        found.add((here.until, here.why, tuple(here.minute.totals), here.limit(0, NOW)))
    assert len(found) == 1


@given(messages)
def test_waits_are_bounded_whatever_others_say(others: list[Posted[Rates | None]]) -> None:
    here = worker(rpm=100)
    here.merge(others, NOW)
    assert here.until <= NOW + 90


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=1, max_size=40),
    st.integers(1, 3),
    st.integers(5, 100),
)
def test_workers_that_wait_and_merge_keep_a_limit_together(
    rounds: list[tuple[int, int]], count: int, limit: int
) -> None:
    """They send in rounds of a second, one of them more than the others, and read each other after each round."""
    workers = [worker(rpm=limit) for _ in range(count)]
    exchange(workers, NOW)
    sent: list[float] = []
    for second, (busy, wanted) in enumerate(rounds):
        now = NOW + second
        for place, one in enumerate(workers):
            for _ in range(wanted if place == busy else wanted // 3):
                if one.until <= now:
                    one.sent(10, now)
                    sent.append(now)
        exchange(workers, now)
        assert len([at for at in sent if now - at < 60]) <= limit + count - 1, "each may take the last one"


@given(rates)
def test_what_is_published_can_be_read(one: Rates) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Rates) == one
