"""Rates: never more than a minute may hold, learned from 429s, and forgotten slowly."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.ratelimit import AFTER_429, BELIEVED, FEWEST, LONGEST_HOLD, RateLimit
from gateway.types import Limits
from tests.route.world import NOW


def limited(rpm: int | None = None, tpm: int | None = None, workers: int = 1) -> RateLimit:
    rates = RateLimit()
    rates.publish(Limits(rpm, tpm), workers)
    return rates


def send(rates: RateLimit, count: int, now: float = NOW, tokens: float = 100.0) -> None:
    for _ in range(count):
        rates.sent(tokens, now)


def refuse(rates: RateLimit, count: int, now: float = NOW) -> None:
    """The host's limit is reached: so many of the minute's requests come back."""
    for _ in range(count):
        rates.refused(now, None, now)


def test_without_a_limit_anything_goes() -> None:
    rates = limited()
    send(rates, 1_000)
    assert rates.until == 0


def test_a_published_limit_holds_until_enough_is_a_minute_old() -> None:
    rates = limited(rpm=10)
    send(rates, 9)
    assert rates.until == 0
    send(rates, 1)
    assert NOW + 60 <= rates.until <= NOW + 65
    assert rates.why == "10 of 10 requests a minute are used"


def test_tokens_are_limited_too() -> None:
    rates = limited(rpm=100, tpm=1_000)
    send(rates, 2, tokens=500)
    assert rates.until > NOW
    assert rates.why == "1,000 of 1,000 tokens a minute are used"


def test_a_worker_without_a_store_keeps_to_its_share() -> None:
    rates = limited(rpm=10, workers=2)
    send(rates, 4)
    assert rates.until == 0
    send(rates, 1)
    assert rates.why == "10 of 10 requests a minute are used"


def test_a_429_is_waited_out() -> None:
    rates = limited()
    rates.refused(NOW, 7.0, NOW)
    assert (rates.until, rates.why) == (NOW + 7, "a 429 asked to wait")
    rates.refused(NOW, 2.0, NOW)
    assert rates.until == NOW + 7, "the longer wait holds"


def test_a_429_without_a_time_is_waited_out_for_a_second() -> None:
    rates = limited()
    rates.refused(NOW, None, NOW)
    assert rates.until == NOW + 1


def test_what_another_failure_asks_to_wait_is_waited_out_and_teaches_nothing() -> None:
    rates = limited()
    send(rates, 50)
    for _ in range(50):
        rates.hold(7.0, NOW)
    assert (rates.until, rates.retry_at, rates.why) == (NOW + 7, NOW + 7, "an error asked to wait")
    assert rates.limit(0, NOW) == inf
    rates.refused(NOW, 2.0, NOW)
    assert (rates.until, rates.why) == (NOW + 7, "an error asked to wait")
    rates.hold(1e6, NOW)
    assert rates.until == NOW + LONGEST_HOLD


def test_a_long_retry_after_holds_for_a_minute_where_no_other_endpoint_serves() -> None:
    rates = limited()
    rates.refused(NOW, 600.0, NOW)
    assert (rates.until, rates.retry_at) == (NOW + 600, NOW + BELIEVED)
    rates.refused(NOW + 61, 600.0, NOW + 61)
    assert rates.retry_at == NOW + 61 + BELIEVED, "it was asked again, and said so again"
    rates.refused(NOW + 62, None, NOW + 62)
    assert rates.retry_at == NOW + 62 + BELIEVED


def test_a_limit_that_is_reached_is_no_retry_after_of_the_host() -> None:
    rates = limited(rpm=10)
    send(rates, 10)
    assert rates.until > NOW
    assert rates.retry_at <= NOW


def test_429s_teach_by_what_the_minute_up_to_them_held() -> None:
    rates = limited()
    send(rates, 1)
    send(rates, 40, NOW + 50)
    refuse(rates, FEWEST - 1, NOW + 50)
    send(rates, 9, NOW + 70)
    refuse(rates, 3, NOW + 70)
    assert rates.limit(0, NOW + 70) < inf, "those of 20 s ago count"


def test_429s_teach_the_rate_at_which_they_came() -> None:
    rates = limited()
    send(rates, 50)
    refuse(rates, 5)
    assert rates.limit(0, NOW) == AFTER_429 * 50
    assert rates.limit(1, NOW) == AFTER_429 * 5_000
    assert rates.until >= NOW + 60, "it is above that rate"


def test_what_was_learned_keeps_it_from_the_next_429() -> None:
    rates = limited()
    send(rates, 50)
    refuse(rates, 5)
    later = NOW + 70
    send(rates, 43, later)
    assert rates.until < later
    send(rates, 4, later)
    assert rates.until > later


def test_429s_of_one_burst_teach_once() -> None:
    rates = limited()
    send(rates, 50)
    for _ in range(10):
        rates.refused(NOW, None, NOW + 1)
    assert rates.limit(0, NOW + 1) == AFTER_429 * 50


@pytest.mark.parametrize(("sent", "refused"), [(FEWEST - 1, FEWEST - 1), (100, 9), (1_000, 1)])
def test_few_429s_are_not_about_rates(sent: int, refused: int) -> None:
    rates = limited()
    send(rates, sent)
    refuse(rates, refused)
    assert rates.limit(0, NOW) == inf
    assert rates.until == NOW + 1, "they are waited out"


def test_429s_of_a_minute_ago_are_forgotten() -> None:
    rates = limited()
    for minute in range(5):
        send(rates, 4, NOW + 70 * minute)
        refuse(rates, 1, NOW + 70 * minute)
    assert rates.limit(0, NOW) == inf


def test_what_was_learned_grows_by_a_tenth_a_minute() -> None:
    rates = limited(rpm=100)
    send(rates, 50)
    refuse(rates, 5)
    assert rates.limit(0, NOW + 60) == pytest.approx(44)
    assert rates.limit(0, NOW + 600) == pytest.approx(80)
    assert rates.limit(0, NOW + 86_400) == 100, "never above what is published"


def test_a_second_429_lowers_what_has_grown() -> None:
    rates = limited()
    send(rates, 50)
    refuse(rates, 5)
    later = NOW + 60
    send(rates, 100, later)  # no other endpoint was left
    refuse(rates, 10, later)
    assert rates.limit(0, later) == pytest.approx(AFTER_429 * 44)


@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 400)), max_size=80),
    st.integers(1, 12),
    st.integers(1, 2_000),
)
def test_who_waits_never_sends_more_than_a_minute_may_hold(sends: list[tuple[float, int]], rpm: int, tpm: int) -> None:
    rates, now = limited(rpm, tpm), NOW
    sent: list[tuple[float, int]] = []
    for pause, tokens in sends:
        now += pause
        if rates.until > now:
            continue
        rates.sent(tokens, now)
        sent.append((now, tokens))
        last_minute = [size for at, size in sent if now - at < 60]
        assert len(last_minute) <= rpm
        assert sum(last_minute[:-1]) < tpm, "the one that reaches the limit is the last"


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.booleans()), max_size=60))
def test_it_never_waits_for_good(events: list[tuple[float, bool]]) -> None:
    rates, now = limited(rpm=5), NOW
    for pause, refused in events:
        now += pause
        rates.sent(10, now)
        if refused:
            rates.refused(now, 30.0, now)
        assert rates.until <= now + 65
