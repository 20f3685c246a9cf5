"""What a worker did last: the newest first, each with the rows of all its attempts, and never more than is kept."""

import pytest

from gateway.proxy.recent_exchanges import KEPT, MOST_OPEN, RecentExchanges
from tests.support.rows import cached_row, row


def test_an_exchange_has_the_rows_of_all_its_attempts_the_closing_one_last() -> None:
    recent = RecentExchanges()
    recent.add(row(exchange="x", last=False, outcome="cut", cost=30), None)
    recent.add(row(exchange="y", cost=5), None)
    recent.add(row(exchange="x", attempt=2, cost=12), None)
    assert [(past.closing.exchange, [one.cost for one in past.rows]) for past in recent] == [
        ("x", [30, 12]),
        ("y", [5]),
    ]


def test_an_attempt_that_is_not_the_last_shows_no_exchange() -> None:
    recent = RecentExchanges()
    recent.add(row(last=False), None)
    assert list(recent) == []


def test_the_oldest_goes_when_the_ring_is_full() -> None:
    recent = RecentExchanges()
    for number in range(KEPT + 3):
        recent.add(row(exchange=str(number)), None)
    assert [past.closing.exchange for past in recent] == [str(number) for number in range(KEPT + 2, 2, -1)]


def test_exchanges_that_never_end_are_forgotten() -> None:
    recent = RecentExchanges()
    for number in range(MOST_OPEN + 1):
        recent.add(row(exchange=str(number), last=False, cost=1), None)
    assert repr(recent) == f"<Recent 0 exchanges, {MOST_OPEN} open>"
    recent.add(row(exchange="0", cost=1), None)
    assert [len(past.rows) for past in recent] == [1]


def test_those_that_failed_or_were_slow_or_took_several_attempts_are_taken_out_once() -> None:
    recent = RecentExchanges()
    recent.slow_from = {("balanced", "novita/fp8"): 5.0}
    recent.add(row(exchange="several", last=False, outcome="server"), None)
    for one in (
        row(exchange="good"),
        cached_row(exchange="cached"),
        row(exchange="left", outcome="cancelled"),
        row(exchange="failed", outcome="server"),
        row(exchange="several", attempt=2),
        row(exchange="slow", client_ttft=5.1),
        row(exchange="elsewhere", client_ttft=5.1, endpoint="baidu/fp8"),
    ):
        recent.add(one, None)
    assert [past.closing.exchange for past in recent.taken()] == ["failed", "several", "slow"]
    assert recent.taken() == []


@pytest.mark.parametrize(("seconds", "slow"), [(15.9, False), (16.1, True)])
def test_an_answer_without_a_first_token_is_slow_by_its_expected_time(seconds: float, slow: bool) -> None:
    recent = RecentExchanges()
    recent.add(row(client_ttft=None, ttft=None, predicted_s=4.0, client_duration=seconds), None)
    assert [past.slow for past in recent] == [slow]


def test_without_an_expectation_nothing_is_slow() -> None:
    recent = RecentExchanges()
    recent.add(row(client_ttft=None, ttft=None, predicted_s=0.0, client_duration=100.0), None)
    assert [past.slow for past in recent] == [False]
