"""How long hosts ask to wait, in all the ways they say it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import Failure, Fault
from gateway.upstream.host_error import classify, classify_in_band
from gateway.upstream.retry_after_parser import from_error
from gateway.upstream.stream import StreamReader
from gateway.upstream.whole_reader import WholeReader
from tests.upstream.listener import Listener

NOW = 1_763_683_200.0  # Fri, 21 Nov 2025 00:00:00 GMT
Header = list[tuple[bytes, bytes]]
SEVEN: Header = [(b"retry-after", b"7")]


def said(status: int, headers: Header, body: Any = None) -> Failure:
    return classify(status, headers, json.dumps(body).encode() if body is not None else b"", NOW)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 408, 413, 425, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize(
    "header",
    [(b"Retry-After", b"7"), (b"retry-after-ms", b"7000"), (b"retry-after", b"Fri, 21 Nov 2025 00:00:07 GMT")],
)
def test_a_retry_after_is_read_with_every_status(status: int, header: tuple[bytes, bytes]) -> None:
    assert said(status, [header]).retry_after == 7.0


@pytest.mark.parametrize(("status", "seconds"), [(429, 360.0), (500, None), (503, None), (400, None), (401, None)])
def test_limits_resets_count_only_where_a_limit_was_the_reason(status: int, seconds: float | None) -> None:
    assert said(status, [(b"x-ratelimit-reset-requests", b"6m0s")]).retry_after == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h", 3600.0),
        ("59m59s", 3599.0),
        ("1d", 3600.0),
        ("999999999", 3600.0),  # a duration, cut to an hour
        (f"{NOW + 7:.0f}", 7.0),
        (f"{NOW + 7:.0f}000", 7.0),
        (f"{NOW - 7:.0f}", 0.0),
        ("Fri, 21 Nov 2025 00:00:07 -0000", 7.0),
        ("Fri, 21 Nov 2025 01:00:07 +0100", 7.0),
        ("Thu, 20 Nov 2025 23:59:59 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("1 s", None),
        ("Fri, 99 Nov 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_how_long_a_header_says(value: str, seconds: float | None) -> None:
    assert said(503, [(b"retry-after", value.encode())]).retry_after == seconds


def test_the_most_explicit_header_counts_and_of_resets_the_nearest() -> None:
    resets = [
        (b"x-ratelimit-reset-tokens", b"9s"),
        (b"X-RateLimit-Reset-Requests", b" 6s "),
        (b"x-ratelimit-reset", b"?"),
    ]
    assert said(429, resets).retry_after == 6.0
    assert said(429, [*resets, *SEVEN]).retry_after == 7.0
    assert said(429, [*resets, *SEVEN, (b"retry-after-ms", b"1500")]).retry_after == 1.5
    assert said(429, [*resets, *SEVEN, (b"retry-after-ms", b"soon")]).retry_after == 7.0
    assert said(429, [(b"x-ratelimit-remaining", b"5")]).retry_after is None


@pytest.mark.parametrize(
    ("delays", "seconds"),
    [(["13s", "2s"], 13.0), (["0s"], 0.0), ([None, "soon"], None), ([2.5], 2.5), (["2h"], 3600.0)],
)
def test_of_googles_delays_the_longest_counts(delays: list[Any], seconds: float | None) -> None:
    assert from_error({"details": [5, *({"retryDelay": delay} for delay in delays)]}) == seconds


IN_BODIES: dict[str, tuple[Any, float | None]] = {
    "number": ({"error": {"message": "busy", "retry_after": 20}}, 20.0),
    "text": ({"error": {"message": "busy", "retry_after": "1.5"}}, 1.5),
    "span": ({"error": {"message": "busy", "retry_after": "1m30s"}}, 90.0),
    "milliseconds": ({"error": {"message": "busy", "retry_after_ms": 250}}, 0.25),
    "at the top": ({"error": {"message": "busy"}, "retry_after": 3}, 3.0),
    "flat": ({"object": "error", "message": "busy", "code": 503, "retry_after": 3}, 3.0),
    "metadata": ({"error": {"message": "busy", "code": 503, "metadata": {"retry_after": 4}}}, 4.0),
    "wrapped": ({"error": {"message": "p", "metadata": {"raw": '{"error": {"message": "b", "retry_after": 5}}'}}}, 5.0),
    "google": ({"error": {"message": "busy", "details": [{"reason": "x"}, {"retryDelay": "13s"}]}}, 13.0),
    "too long": ({"error": {"message": "busy", "retry_after": 1e30}}, 3600.0),
    "negative": ({"error": {"message": "busy", "retry_after": -1}}, 0.0),
    "a flag": ({"error": {"message": "busy", "retry_after": True}}, None),
    "words": ({"error": {"message": "busy", "retry_after": "soon"}}, None),
    "null": ({"error": {"message": "busy", "retry_after": None, "details": None}}, None),
}


@pytest.mark.parametrize(("body", "seconds"), IN_BODIES.values(), ids=IN_BODIES)
def test_the_error_itself_may_say_it(body: Any, seconds: float | None) -> None:
    assert said(503, [], body).retry_after == seconds
    assert said(503, SEVEN, body).retry_after == 7.0, "a header is plainer"
    failure = classify_in_band(body)
    assert failure is not None
    assert failure.retry_after == seconds


@pytest.mark.parametrize(("code", "fault"), [(429, "rate_limited"), (503, "in_band")])
@pytest.mark.parametrize("kind", ["whole", "stream", "streamed as one document"])
def test_an_error_inside_a_200_has_the_headers_wait(kind: str, code: int, fault: str) -> None:
    listener = Listener()
    reader = WholeReader(listener, NOW) if kind == "whole" else StreamReader(listener, NOW, rewrite=False)
    reader.on_response(200, SEVEN)
    error = json.dumps({"error": {"message": "busy", "code": code}}).encode()
    reader.on_data(b"data: " + error + b"\n\n" if kind == "stream" else error)
    reader.on_complete()
    assert listener.failure is not None
    assert (listener.failure.fault, listener.failure.retry_after) == (fault, 7.0)


def test_another_failure_inside_a_200_waits_for_nothing() -> None:
    listener = Listener()
    reader = WholeReader(listener, NOW)
    reader.on_response(200, SEVEN)
    reader.on_data(b"garbage")
    reader.on_complete()
    assert listener.failure == Failure(Fault.GARBAGE, "the host's answer is not a JSON object")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["retry_after", "retry_after_ms", "details"])


@given(st.dictionaries(fields, json_values | st.lists(st.fixed_dictionaries({"retryDelay": json_values}))))
def test_any_error_gives_a_bounded_wait(error: dict[str, Any]) -> None:
    wait = from_error(error)
    assert wait is None or 0 <= wait <= 3600
