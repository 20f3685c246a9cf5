"""The last minute of all workers, in slices of 5 s that lie where they lie on each one's clock."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.route.minute import REFUSED, REQUESTS, SLICE, TOKENS, Minute, Slice
from gateway.route.posted import Posted

NOW = 1_000.0


def sent(*times: float, tokens: float = 100.0) -> Minute:
    minute = Minute()
    for at in times:
        minute.add(tokens, at)
    return minute


def posted(minute: Minute, now: float, age: float = 0.0, skew: float = 0.0) -> Posted[list[Slice]]:
    """What a worker published `age` seconds before `now`; its clock is `skew` seconds ahead."""
    return Posted(b"other", now - age, age, minute.own(now + skew - age))


def test_totals_are_of_all() -> None:
    here, there = sent(NOW), sent(NOW, NOW)
    there.refused(NOW)
    here.merge([posted(there, NOW)], NOW)
    assert [here.totals[unit] for unit in (REQUESTS, TOKENS, REFUSED)] == [3, 300, 1]


def test_what_is_a_minute_old_is_left_out_without_another_merge() -> None:
    here = sent(NOW)
    here.merge([posted(sent(NOW - 30), NOW)], NOW)
    here.pass_to(NOW + 31)
    assert here.totals[REQUESTS] == 2
    here.pass_to(NOW + 36)
    assert here.totals[REQUESTS] == 1


def test_others_are_expected_to_send_alike_only_after_the_merge() -> None:
    here = sent(NOW)
    assert here.expected(REQUESTS, 2) == 3
    here.merge([], NOW)
    assert here.expected(REQUESTS, 2) == 1
    here.add(100.0, NOW)
    assert here.expected(REQUESTS, 2) == 4
    assert here.expected(TOKENS, 2) == 400


def test_only_what_it_sent_itself_is_published() -> None:
    here = sent(NOW)
    here.merge([posted(sent(NOW, NOW - 20), NOW)], NOW)
    assert here.own(NOW) == [(0, 1, 100, 0)]


def test_what_others_sent_counts_until_its_slice_is_a_minute_old() -> None:
    here = sent()
    here.merge([Posted(b"other", NOW, 0.0, [(65_000, 1, 100, 0)])], NOW)
    assert here.totals[REQUESTS] == 0
    here.merge([Posted(b"other", NOW, 0.0, [(64_000, 1, 100, 0)])], NOW)
    assert here.totals[REQUESTS] == 1
    here.pass_to(NOW + SLICE)
    assert here.totals[REQUESTS] == 0


def test_what_was_refused_is_published_with_its_slice() -> None:
    minute = sent(NOW - 10, NOW)
    minute.refused(NOW)
    assert minute.own(NOW + 1) == [(11_000, 1, 100, 0), (1_000, 1, 100, 1)]


def test_an_idle_slice_is_not_published() -> None:
    minute = sent(NOW)
    assert minute.own(NOW + 10) == [(10_000, 1, 100, 0)]
    assert minute.own(NOW + 100) == []


def test_two_readings_of_the_same_clock_fall_into_the_same_slice() -> None:
    here = sent()
    here.merge([posted(sent(NOW), NOW + 3.1, age=0.1)], NOW + 3.099)
    assert here.under(REQUESTS, 1, 0) == NOW + 13 * SLICE


@given(st.lists(st.floats(0.0, 59.0), min_size=1, max_size=20), st.floats(0.0, 30.0), st.floats(-1e6, 1e6))
def test_whatever_the_clocks_nothing_is_left_out_before_it_is_a_minute_old(
    ages: list[float], age: float, skew: float
) -> None:
    now = 2e6
    there = sent(*sorted(now + skew - one - age for one in ages))
    here = sent()
    here.merge([posted(there, now, age, skew)], now)
    for later in (0.0, 10.0, 30.0, 50.0):
        here.pass_to(now + later)
        young = sum(one + age + later < 59.5 for one in ages)
        assert young <= here.totals[REQUESTS] <= sum(one + age + later <= 71.0 for one in ages)


def test_what_is_added_counts_for_a_minute_from_then_and_not_from_the_first() -> None:
    minute = Minute()
    for now in (NOW, NOW + 50, NOW + 50):
        minute.add(100.0, now)
        minute.refused(now)
    minute.pass_to(NOW + 70)
    assert minute.totals[:3] == [2, 200, 2]
    minute.pass_to(NOW + 120)
    assert minute.totals[:3] == [0, 0, 0]


def test_tokens_are_under_a_limit_when_what_is_above_it_is_a_minute_old() -> None:
    """With one other worker, which is expected to send alike, and for tokens as for requests."""
    here = sent(NOW, NOW + 20)
    assert (here.expected(REQUESTS, 1), here.expected(TOKENS, 1)) == (4, 400)
    assert here.under(TOKENS, 250, 1) == NOW + 13 * SLICE
    assert here.under(TOKENS, 150, 1) == NOW + 20 + 13 * SLICE
    assert here.under(REQUESTS, 2.5, 1) == NOW + 13 * SLICE


def test_what_reaches_a_limit_is_not_under_it() -> None:
    here = sent(NOW, NOW + 20)
    assert here.under(REQUESTS, 1, 0) == NOW + 20 + 13 * SLICE


def test_what_a_limit_of_nothing_waits_for_is_a_whole_minute() -> None:
    here = sent(NOW, NOW + 20)
    assert here.under(REQUESTS, 0, 0) == NOW + 20 + 13 * SLICE
    assert repr(here) == "<Minute [2.0, 200.0, 0.0]>"
