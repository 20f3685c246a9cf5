"""Sentences from figures: which rule says what, with the figures, and what too few samples do not bear."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.page.verdict import MOST, TwoWindows, verdict

NO_TIMES = {"n": 0, "p50": None, "p75": None, "p90": None, "p95": None, "p99": None}


def figures(requests: int = 1_000, good: int | None = None, **changes: Any) -> dict[str, Any]:
    """A window in which nothing is remarkable."""
    succeeded = requests if good is None else good
    usual: dict[str, Any] = {
        "requests": requests,
        "judged_requests": requests,
        "succeeded": succeeded,
        "first_ok": succeeded,
        "attempts": requests,
        "judged": requests,
        "ok": requests,
        "prompt": 1_000 * requests,
        "cached": 400 * requests,
        "effective_price": 0.247,
        "ttft": times(requests, 0.8, 2.0),
        "throughput": times(requests, 40.0, 60.0),
    }
    return usual | changes


def times(n: int, p50: float, p95: float) -> dict[str, Any]:
    return {**NO_TIMES, "n": n, "p50": p50, "p95": p95}


def said(now: dict[str, Any], before: dict[str, Any] | None, **endpoints: TwoWindows) -> list[str]:
    return verdict(now, before, endpoints, "24 hours")


def test_a_quiet_window_says_that_it_is_as_before() -> None:
    assert said(figures(), figures()) == [
        "100 % of 1,000 requests in the last 24 hours succeeded, as many as in the 24 hours before (100 %).",
        "1M tokens cost $0.247, as before.",
    ]


def test_without_requests_nothing_else_is_said() -> None:
    assert said(figures(0), figures()) == ["No requests in the last 24 hours."]


def test_few_requests_are_not_compared() -> None:
    assert said(figures(6, 5), figures()) == [
        "83 % of 6 requests in the last 24 hours succeeded.",
        "That is too few to compare with the 24 hours before.",
    ]
    assert said(figures(1), None)[0] == "100 % of 1 request in the last 24 hours succeeded."


@pytest.mark.parametrize("before", [None, figures(3)])
def test_without_a_window_before_there_is_no_comparison(before: dict[str, Any] | None) -> None:
    sentences = said(figures(), before)
    assert sentences == [
        "100 % of 1,000 requests in the last 24 hours succeeded.",
        "The 24 hours before had too few requests to compare with.",
        "1M tokens cost $0.247.",
    ]


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        ((1_000, 950), (1_000, 990), "95.0 % of 1,000 requests in the last 24 hours succeeded, fewer than in"),
        ((1_000, 990), (1_000, 950), "more than in the 24 hours before (95.0 %)"),
        ((1_000, 989), (1_000, 990), "as many as in the 24 hours before (99.0 %)"),  # one request is chance
        ((100_000, 99_999), (1_000, 990), "99.99 % of 100,000"),  # never 100 % with a failure
        ((50, 49), (50, 50), "98 % of 50 requests in the last 24 hours succeeded, as many as in"),
    ],
)
def test_success_differs_where_chance_does_not_explain_it(now: Any, before: Any, words: str) -> None:
    assert words in said(figures(*now), figures(*before))[0]


def test_what_other_attempts_saved() -> None:
    assert "Another attempt saved 30 requests: without, 96.0 % would have succeeded." in said(
        figures(1_000, 990, first_ok=960), figures(1_000, 990)
    )


def test_a_price_that_moved_with_the_cached_share() -> None:
    now = figures(effective_price=0.2, cached=600_000)
    assert (
        "1M tokens cost $0.200, 19% less than before; 60% of the prompt tokens came from caches, before 40%."
        in said(now, figures())
    )


def test_times_need_enough_samples() -> None:
    slower = {"ttft": times(1_000, 1.2, 4.0), "throughput": times(1_000, 20.0, 30.0)}
    assert said(figures(**slower), figures())[2:] == [
        "The median time to first token rose from 800 ms to 1.20 s.",
        "The 95th percentile of the time to first token rose from 2.00 s to 4.00 s.",
        "The median output speed fell from 40.0 tok/s to 20.0 tok/s.",
    ]
    fewer = {"ttft": times(60, 1.2, 4.0), "throughput": times(40, 20.0, 30.0)}
    assert said(figures(**fewer), figures())[2:] == ["The median time to first token rose from 800 ms to 1.2 s."]


def test_traffic_that_moved_and_endpoints_that_fail() -> None:
    half = figures(500)
    sentences = said(
        figures(),
        figures(),
        gained=TwoWindows(figures(700), figures(100)),
        lost=TwoWindows(figures(0), figures(600)),
        poor=TwoWindows(figures(200, judged=200, ok=150), figures(200)),
        few=TwoWindows(figures(5, judged=5, ok=0), None),
        steady=TwoWindows(half, half),
    )
    assert sentences[2:] == [
        "gained took 70% of the attempts, before 10%.",
        "lost took 0% of the attempts, before 60%.",
        "poor failed 50 attempts of 200.",
    ]


counts = st.integers(0, 10_000)


@given(counts, counts, counts, st.floats(1e-6, 1e3), st.floats(1e-3, 1e3))
def test_any_figures_give_a_few_sentences_without_a_false_hundred(
    requests: int, bad: int, before: int, price: float, seconds: float
) -> None:
    good = max(0, requests - bad)
    now = figures(requests, good, effective_price=price, ttft=times(requests, seconds, 2 * seconds))
    sentences = verdict(now, figures(before), {"a": TwoWindows(figures(requests, ok=good), figures(before))}, "7 days")
    assert 1 <= len(sentences) <= MOST
    assert all(sentence.endswith(".") for sentence in sentences)
    if 0 < good < requests:
        assert not sentences[0].startswith("100 %")
