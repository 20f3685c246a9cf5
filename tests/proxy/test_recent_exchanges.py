"""What a worker did last: the newest first, each with what all of its attempts cost, and never more than is kept."""

from gateway.proxy.recent_exchanges import KEPT, MOST_OPEN, RecentExchanges
from tests.support.rows import row


def test_an_exchange_costs_what_all_its_attempts_cost() -> None:
    recent = RecentExchanges()
    recent.add(row(exchange="x", last=False, outcome="cut", cost=30), None)
    recent.add(row(exchange="y", cost=5), None)
    recent.add(row(exchange="x", attempt=2, cost=12), None)
    assert [(past.row.exchange, past.cost) for past in recent] == [("x", 42), ("y", 5)]


def test_an_attempt_that_is_not_the_last_shows_no_exchange() -> None:
    recent = RecentExchanges()
    recent.add(row(last=False), None)
    assert list(recent) == []


def test_the_oldest_goes_when_the_ring_is_full() -> None:
    recent = RecentExchanges()
    for number in range(KEPT + 3):
        recent.add(row(exchange=str(number)), None)
    assert [past.row.exchange for past in recent] == [str(number) for number in range(KEPT + 2, 2, -1)]


def test_exchanges_that_never_end_are_forgotten() -> None:
    recent = RecentExchanges()
    for number in range(MOST_OPEN + 1):
        recent.add(row(exchange=str(number), last=False, cost=1), None)
    assert repr(recent) == f"<Recent 0 exchanges, {MOST_OPEN} open>"
    recent.add(row(exchange="0", cost=1), None)
    assert [past.cost for past in recent] == [1]
