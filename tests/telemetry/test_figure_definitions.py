"""What the figures mean, in code and in words."""

import re
from pathlib import Path

import pytest

from gateway.page.history_shape import COUNTED, figures
from gateway.route.tracked_attempt import MEASURES_SPEED
from gateway.telemetry.figure_definitions import (
    JUDGED,
    SUCCESS,
    client_latency,
    client_ttft,
    host_latency,
    is_attempt,
    price_per_million,
    share,
    without_routing,
)
from gateway.telemetry.packed import Packed
from gateway.types import OUTCOMES, PICO, Row
from tests.support.rows import cached_row, row

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_every_figure_of_the_history_is_defined() -> None:
    """By the name of its anchor."""
    anchors = set(re.findall(r'<a id="([a-z-]+)"></a>', DOCS))
    named = dict.fromkeys(COUNTED, "requests") | {
        "succeeded": "success",
        "judged_requests": "success",
        "first_ok": "without-routing",
        "attempts": "attempts",
        "ok": "uptime",
        "judged": "uptime",
        "prompt": "tokens",
        "cached": "hit-share",
        "completion": "tokens",
        "reasoning": "tokens",
        "cost_usd": "cost",
        "list_usd": "list-cost",
        "effective_input": "effective-input",
        "effective_price": "effective-price",
        "tool_calls": "tool-calls",
        "tool_calls_ok": "tool-calls",
        "ttft": "ttft",
        "latency": "latency",
        "throughput": "throughput",
    }
    assert figures(Packed.total(())).keys() == named.keys()
    saved = {"prompt-cache-savings", "response-cache-savings", "routing-savings"}
    assert anchors == {*named.values(), *saved, "slow", "worst-fault"}


def test_the_docs_state_how_many_tokens_measure_a_speed() -> None:
    assert f"attempts with {MEASURES_SPEED} tokens or more" in DOCS


def test_outcomes_that_count() -> None:
    assert SUCCESS < JUDGED
    assert JUDGED.isdisjoint({"cancelled", "malformed", "rejected"})
    assert {"rate_limited", "account", "server", "unrouted", "internal"} < JUDGED


@pytest.mark.parametrize(
    ("one", "sent", "direct"),
    [
        (row(), True, True),
        (row(attempt=2), True, False),
        (row(outcome="server"), True, False),
        (row(outcome="cancelled", hedge="beaten"), True, True),
        (row(outcome="cancelled"), True, False),
        (row(attempt=2, hedge="won"), True, False),
        (cached_row(), False, True),
        (row(endpoint="", attempt=0, outcome="unrouted"), False, False),
    ],
)
def test_attempts_and_success_without_routing(one: Row, sent: bool, direct: bool) -> None:
    assert (is_attempt(one), without_routing(one)) == (sent, direct)


@pytest.mark.parametrize(
    ("one", "ttft", "latency", "at_host"),
    [
        (row(), 0.6, 2.6, 2.0),
        (row(last=False), None, None, 2.0),
        (row(outcome="cut"), 0.6, None, None),
        (row(held=True), 0.6, 2.6, None),
        (cached_row(), None, 0.002, None),
    ],
)
def test_times(one: Row, ttft: float | None, latency: float | None, at_host: float | None) -> None:
    assert (client_ttft(one), client_latency(one), host_latency(one)) == (ttft, latency, at_host)


def test_a_figure_without_data_is_absent() -> None:
    assert share(0, 0) is None
    assert price_per_million(0, 0) is None
    assert (share(1, 4), price_per_million(3 * PICO, 2_000_000)) == (0.25, 1.5)


@pytest.mark.parametrize("figure", ["success", "uptime"])
def test_the_outcomes_that_a_rate_leaves_out_are_documented(figure: str) -> None:
    definition = DOCS.partition(f'<a id="{figure}"></a>')[2].partition("|")[2]
    left_out = definition.partition("divided by all but those that are ")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", left_out)) == {str(one) for one in OUTCOMES} - JUDGED
