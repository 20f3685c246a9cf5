"""Exchanges from rows: who answered, what each attempt was, and nothing that is private."""

from gateway.page.exchange_view import kinds, shown_attempts, shown_exchange
from tests.support.rows import cached_row, row


def test_an_endpoint_is_named_only_if_it_answered() -> None:
    assert shown_exchange([row()], slow=False).endpoint == "novita/fp8"
    for outcome in ("server", "rejected", "cancelled", "cut"):
        failed = shown_exchange([row(outcome=outcome)], slow=False)
        assert failed.endpoint is None
        assert failed.endpoints == ["novita/fp8"]
        assert not any(one.won for one in shown_attempts([row(outcome=outcome)]))


def test_a_retry_has_both_attempts_with_their_costs_and_times() -> None:
    first = row(exchange="x", at=100.1, last=False, outcome="server", status=503, error="busy", ttft=None, duration=0.5)
    second = row(exchange="x", at=100.7, attempt=2, endpoint="baidu/fp8", ttft=0.4, duration=2.0, client_duration=2.7)
    shown = shown_exchange([first, second], slow=False)
    assert (shown.attempts, shown.retried, shown.hedged) == (2, True, False)
    assert (shown.endpoint, shown.endpoints) == ("baidu/fp8", ["novita/fp8", "baidu/fp8"])
    assert shown.cost_usd == 2 * 250e-6
    assert shown.ended == 102.7
    lost, won = shown_attempts([first, second])
    assert [round(time, 3) for time in (lost.started, lost.ended)] == [0.1, 0.6]
    assert (lost.first_token, lost.status, lost.said, lost.won) == (None, 503, "busy", False)
    assert [round(time, 3) for time in (won.started, won.first_token or 0, won.ended)] == [0.7, 1.1, 2.7]
    assert (won.n, won.won, won.said, won.tokens) == (2, True, None, 101)


def test_a_hedge_that_lost_is_no_retry_and_its_attempts_stand_in_order() -> None:
    hedge = row(exchange="x", attempt=2, hedge="lost", outcome="cancelled", last=False, endpoint="baidu/fp8")
    first = row(exchange="x")
    shown = shown_exchange([hedge, first], slow=False)
    assert (shown.attempts, shown.hedged, shown.retried, shown.endpoint) == (2, True, False, "novita/fp8")
    assert [(one.n, one.hedge, one.won) for one in shown_attempts([hedge, first])] == [
        (1, "", True),
        (2, "lost", False),
    ]


def test_an_attempt_that_nothing_followed_is_no_retry() -> None:
    """The exchange ended without a second attempt: its closing row stands for none."""
    failed = row(exchange="x", outcome="server", last=False)
    closing = row(exchange="x", attempt=0, endpoint="", outcome="unrouted", duration=0.0)
    shown = shown_exchange([failed, closing], slow=False)
    assert (shown.attempts, shown.retried, shown.endpoint, shown.endpoints) == (1, False, None, ["novita/fp8"])
    assert [one.n for one in shown_attempts([failed, closing])] == [1]


def test_an_answer_from_the_cache_has_no_attempts() -> None:
    shown = shown_exchange([cached_row()], slow=False)
    assert (shown.attempts, shown.endpoint, shown.endpoints, shown.cache) == (0, None, [], "hit")
    assert shown_attempts([cached_row()]) == []
    assert kinds(shown) == set()


def test_kinds() -> None:
    several = [row(exchange="x", outcome="server", last=False), row(exchange="x", attempt=2, hedge="won")]
    assert kinds(shown_exchange(several, slow=True)) == {"slow", "hedged", "retried"}
    assert kinds(shown_exchange([row(outcome="malformed")], slow=False)) == {"failed"}
    assert kinds(shown_exchange([row(outcome="cancelled")], slow=False)) == set()


def test_an_app_given_by_its_address_shows_no_more_than_the_page() -> None:
    def app(given: str) -> str:
        return shown_exchange([row(app=given)], slow=False).app

    assert app("Chat") == "Chat"
    assert app("https://user:secret@chat.example/a?token=secret#secret") == "https://chat.example/a"
    assert app("https://[broken") == ""
