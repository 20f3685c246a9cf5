"""What a page without a key may show of a host's message: ordinary words, and numbers with a unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.host_words import GAP, LONGEST, said


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("The server is overloaded, please try again later.", "The server is overloaded, please try again later."),
        ("Rate limit reached for org-x81 in 30 s", "Rate limit reached for … in 30 s"),
        ("no first token within 10 s", "no first token within 10 s"),
        ("failed at https://internal.host:8080/v1?key=abc", "failed at …"),
        ("internal error: my password is Tr0ub4dor&3", "internal error: … is …"),
        ("pin 4711", None),
        ("", None),
        ("余额不足", None),
    ],
)
def test_ordinary_words_are_shown_and_nothing_else(message: str, shown: str | None) -> None:
    assert said("server", message) == shown


@pytest.mark.parametrize("outcome", ["rejected", "malformed", "account", "ok", "cancelled", "unrouted"])
def test_messages_about_the_request_or_the_account_are_not_shown(outcome: str) -> None:
    assert said(outcome, "the request is too long") is None


@given(st.text(), st.sampled_from(["server", "rate_limited", "cut"]))
def test_a_secret_does_not_get_through(around: str, outcome: str) -> None:
    shown = said(outcome, f"{around} sk-Zq9xw7plm {around} Xylophon {around}") or ""
    assert "Zq9" not in shown
    assert "xylophon" not in shown.lower()
    assert len(shown) <= LONGEST
    assert shown != GAP
