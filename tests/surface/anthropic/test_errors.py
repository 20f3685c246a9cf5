"""Errors in Anthropic's format: the type and the retry header by status, and the id that both the body and a header
have."""

import re
from typing import Any

import pytest

from gateway.surface.anthropic import errors as anthropic

NO_RETRY = (b"x-should-retry", b"false")


@pytest.mark.parametrize(
    ("status", "kind", "retried"),
    [
        (400, "invalid_request_error", False),
        (401, "authentication_error", False),
        (402, "billing_error", False),
        (403, "permission_error", False),
        (404, "not_found_error", False),
        (405, "invalid_request_error", False),
        (408, "invalid_request_error", True),
        (409, "invalid_request_error", True),
        (413, "invalid_request_error", False),
        (422, "invalid_request_error", False),
        (425, "invalid_request_error", True),
        (429, "rate_limit_error", True),
        (499, "invalid_request_error", False),
        (500, "api_error", True),
        (502, "api_error", True),
        (503, "overloaded_error", True),
        (504, "timeout_error", True),
    ],
)
def test_each_status_has_its_type_and_says_whether_a_retry_may_help(status: int, kind: str, retried: bool) -> None:
    body = anthropic.error_body(status, {"message": "no"}, "gen-1")
    assert body == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "gen-1"}
    name = (b"request-id", b"gen-1")
    assert anthropic.head_of(status, body) == ([name] if retried else [name, NO_RETRY])


def test_a_good_answer_may_be_retried() -> None:
    assert anthropic.head(200, "gen-1") == [(b"request-id", b"gen-1")]
    assert anthropic.head(399, "gen-1") == [(b"request-id", b"gen-1")]


def test_another_format_has_no_header_of_anthropics() -> None:
    assert anthropic.head_of(400, {"error": {"message": "no", "type": "invalid_request_error"}}) == []


def test_a_request_that_was_not_routed_has_an_id_of_its_own() -> None:
    ids = {anthropic.error_body(401, {"message": "no"})["request_id"] for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"req_[0-9a-f]{20}", one) for one in ids)
    assert any(one[4] != "0" for one in ids), "the id has 80 random bits"


def test_metadata_is_passed_on_where_there_is_any() -> None:
    attempts = {"attempts": [{"endpoint": "a", "status": 500}]}
    assert anthropic.error(502, {"message": "no", "metadata": attempts})["metadata"] == attempts
    assert "metadata" not in anthropic.error(502, {"message": "no", "metadata": {}})


FIGURES: dict[str, Any] = {"prompt_tokens": 8, "max_tokens": 2, "largest_context": 9}


@pytest.mark.parametrize("missing", FIGURES)
def test_a_figure_that_is_not_known_is_not_shown(missing: str) -> None:
    """The message for `max_tokens` needs all three figures, the one for the prompt needs two."""
    said = {"message": "no", "code": "context_length_exceeded", "param": "max_tokens"}
    shown = anthropic.error(400, said | {"metadata": {**FIGURES, missing: None}})["message"]
    assert shown == ("prompt is too long: 8 tokens > 9 maximum; no" if missing == "max_tokens" else ONLY_WORDS)


ONLY_WORDS = "prompt is too long: no"


def test_only_an_overflow_has_the_words_of_an_overflow() -> None:
    assert anthropic.error(400, {"message": "no", "code": "other", "metadata": FIGURES})["message"] == "no"
