"""Verdicts: the errors that hosts really send, whose fault each is, and what may be shown of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import Failure, Fault
from gateway.types.finish_reason import canonical_reason
from gateway.upstream.host_error import classify, classify_in_band

NOW = 1_763_683_200.0  # Fri, 21 Nov 2025 00:00:00 GMT


def said(status: int, body: Any, headers: dict[str, str] | None = None) -> Failure:
    """The verdict on a JSON body, or on text as it is."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return classify(status, pairs, raw, NOW)


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


SHAPES: dict[str, tuple[int, Any, str, str | None]] = {
    # name: (status, body, message, code)
    "openai": (500, error("overloaded", type="server_error", code="busy"), "overloaded", "busy"),
    "deepinfra": (500, error("Model busy, retry later"), "Model busy, retry later", None),
    "type stands in for code": (500, error("x", type="internal_error", code=None), "x", "internal_error"),
    "string": (500, {"error": "no worker left"}, "no worker left", None),
    "string and message": (500, {"error": "Bad Gateway", "message": "worker lost"}, "worker lost", None),
    "vllm": (500, {"object": "error", "message": "engine died", "code": 500}, "engine died", "500"),
    "atlas": (500, {"code": 5001, "msg": "try later", "request_id": "r", "data": None}, "try later", "5001"),
    "siliconflow": (400, {"code": 20015, "message": "Invalid parameter."}, "Invalid parameter.", "20015"),
    "detail": (404, {"detail": "Not Found"}, "Not Found", None),
    "detail object": (500, {"detail": {"message": "deep", "code": "d"}}, "deep", "d"),
    "detail beside a message": (500, error("outer", code="o", detail={"trace": 1}), "outer", "o"),
    "fastapi": (
        422,
        {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Field required", "type": "missing"}]},
        "messages.0.role: Field required",
        None,
    ),
    "openrouter, JSON inside": (
        502,
        error("Provider returned error", code=502, metadata={"raw": json.dumps(error("CUDA lost")), "provider": "x"}),
        "CUDA lost",
        "502",
    ),
    "openrouter, text inside": (
        502,
        error("Provider returned error", code=502, metadata={"raw": "upstream gone"}),
        "upstream gone",
        "502",
    ),
    "openrouter, object inside": (502, error("outer", metadata={"raw": {"detail": "inner"}}), "inner", None),
    "openrouter, nothing inside": (502, error("outer", metadata={"raw": None}), "outer", None),
    "html": (502, b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway", None),
    "html without title": (502, b"<p>gone</p>", "gone", None),
    "text": (503, b"no healthy upstream", "no healthy upstream", None),
    "JSON text": (503, b'"no healthy upstream"', '"no healthy upstream"', None),
    "blank lines first": (500, b'\n\n\n{"error": {"message": "late"}}', "late", None),
    "nothing": (503, b"", "HTTP 503 without a message", None),
    "not text": (503, b"\xff\xfe", "\ufffd\ufffd", None),
    "null error": (500, {"error": None}, "HTTP 500 without a message", None),
}


@pytest.mark.parametrize(("status", "body", "message", "code"), SHAPES.values(), ids=SHAPES)
def test_every_shape_is_read(status: int, body: Any, message: str, code: str | None) -> None:
    failure = said(status, body)
    assert (failure.message, failure.code, failure.status) == (message, code, status)


VERDICTS: dict[str, tuple[int, Any, str, str | None]] = {
    # name: (status, body, fault, param)
    "bad JSON": (
        400,
        error("Failed to parse the request body as JSON", type="invalid_request_error"),
        "malformed",
        None,
    ),
    "a field that only this host wants": (422, error("messages[0]: missing field `name`"), "rejected", None),
    "its parameter": (400, error("temperature must be at most 2", param="temperature"), "rejected", "temperature"),
    "empty 400": (400, b"", "rejected", None),
    "vllm context": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 163840 tokens. You asked for 170000 (max_tokens 8000).",
            "code": 400,
        },
        "rejected",
        "context",
    ),
    "openai context": (400, error("Too long", code="context_length_exceeded"), "rejected", "context"),
    "prompt too long": (400, error("The prompt is too long: 170000 tokens"), "rejected", "context"),
    "dashscope context": (400, error("Range of input length should be [1, 98304]"), "rejected", "context"),
    "nginx body limit": (413, b"<html><title>413 Request Entity Too Large</title></html>", "rejected", "context"),
    "openrouter error_type": (
        400,
        error("Provider returned error", code=400, metadata={"error_type": "context_length_exceeded"}),
        "rejected",
        "context",
    ),
    "wrapped context": (
        400,
        error("Provider returned error", metadata={"raw": json.dumps(error("maximum context length is 32768"))}),
        "rejected",
        "context",
    ),
    "friendli": (
        422,
        {"detail": '"response_format" field cannot be set when tools are specified'},
        "rejected",
        "response_format",
    ),
    "json_schema": (400, error("json_schema is not available for this model"), "rejected", "response_format"),
    "fireworks": (400, error("Extra inputs are not permitted, field: 'top_a', value: 1"), "rejected", "top_a"),
    "unknown, quoted": (400, error("Unknown parameter: 'frobnicate'."), "rejected", "frobnicate"),
    "openai legacy": (400, error("Unrecognized request argument supplied: frobnicate"), "rejected", "frobnicate"),
    "param field": (400, error("Not supported here", code="unsupported_parameter", param="seed"), "rejected", "seed"),
    "unnamed": (400, error("That option is not supported"), "rejected", None),
    "model name is no param": (400, error("'deepseek-v3.2' does not support tools"), "rejected", "tools"),
    "tool_choice": (400, error("deepseek-reasoner does not support this tool_choice"), "rejected", "tool_choice"),
    "pydantic extra": (
        422,
        {"detail": [{"loc": ["body", "min_p"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]},
        "rejected",
        "min_p",
    ),
    "role": (
        422,
        error("messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"),
        "rejected",
        "role",
    ),
    "role, by param": (400, error("Unsupported value", param="messages[0].role"), "rejected", "role"),
    "messages, not role": (400, error("Unsupported image", param="messages.0.content"), "rejected", "messages"),
    "max_tokens": (
        400,
        error("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"),
        "rejected",
        "max_tokens",
    ),
    "replay rule": (
        400,
        error("The reasoning_content in the thinking mode must be passed back to the API."),
        "rejected",
        "reasoning_content",
    ),
    "content filter": (400, error("Content Exists Risk"), "rejected", "content_filter"),
    "dashscope filter": (400, {"code": "data_inspection_failed", "message": "no"}, "rejected", "content_filter"),
    "model gone, by 400": (400, error("Model Not Exist", code="invalid_request_error"), "account", None),
    "model named": (400, error("The model `deepseek-ai/DeepSeek-V3.2` does not exist."), "account", None),
    "key, by 400": (400, error("API key not valid", code="invalid_api_key"), "account", None),
    "auth": (401, error("Authentication Fails"), "account", None),
    "balance": (402, error("Insufficient Balance"), "account", None),
    "openrouter credit": (402, error("Prompt tokens limit exceeded: 23229 > 14796"), "rejected", "context"),
    "forbidden": (403, error("Not allowed from your region"), "account", None),
    "moderation": (403, error("Your input was flagged by moderation"), "rejected", "content_filter"),
    "no model": (404, error("No such model"), "account", None),
    "wrong path": (404, b"404 page not found", "account", None),
    "wrong method": (405, b"", "account", None),
    "gone": (410, b"", "account", None),
    "host timeout": (408, b"", "server", None),
    "conflict": (409, b"", "server", None),
    "too early": (425, b"", "server", None),
    "internal": (500, error("oops"), "server", None),
    "context words in a 500": (500, error("maximum context length"), "server", None),
    "overloaded": (503, error("overloaded"), "server", None),
    "cloudflare": (524, b"<title>A timeout occurred</title>", "server", None),
    "busy": (429, error("Model busy, retry later"), "rate_limited", None),
    "redirect": (302, b"", "garbage", None),
    "informational": (101, b"", "garbage", None),
}


@pytest.mark.parametrize(("status", "body", "fault", "param"), VERDICTS.values(), ids=VERDICTS)
def test_whose_fault(status: int, body: Any, fault: str, param: str | None) -> None:
    failure = said(status, body)
    assert (failure.fault, failure.param) == (fault, param)


WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "none": ({}, None),
    "seconds": ({"Retry-After": "12"}, 12.0),
    "fraction": ({"retry-after": "1.5"}, 1.5),
    "date": ({"Retry-After": "Fri, 21 Nov 2025 00:00:30 GMT"}, 30.0),
    "past date": ({"Retry-After": "Thu, 20 Nov 2025 00:00:00 GMT"}, 0.0),
    "nonsense": ({"Retry-After": "soon"}, None),
    "nonsense date": ({"Retry-After": "Fri, 99 Nov 2025 99:00:00 GMT"}, None),
    "date without zone": ({"Retry-After": "Fri, 21 Nov 2025 00:00:30 -0000"}, 30.0),
    "negative": ({"Retry-After": "-5"}, None),
    "milliseconds win": ({"Retry-After": "2", "Retry-After-Ms": "1250"}, 1.25),
    "reset, span": ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
    "reset, ms": ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
    "reset, nearest": ({"x-ratelimit-reset-requests": "60", "x-ratelimit-reset-tokens": "4"}, 4.0),
    "reset, unix time": ({"x-ratelimit-reset-requests": "1763683215"}, 15.0),
    "reset, unix ms": ({"X-RateLimit-Reset": "1763683209000"}, 9.0),
    "retry-after before reset": ({"retry-after": "3", "x-ratelimit-reset": "1"}, 3.0),
    "too long": ({"Retry-After": "999999"}, 3600.0),
}


@pytest.mark.parametrize(("headers", "seconds"), WAITS.values(), ids=WAITS)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert said(429, b"", headers).retry_after == seconds


def test_an_overloaded_host_may_ask_to_wait_and_so_may_any_other() -> None:
    assert said(503, b"", {"retry-after": "7"}).retry_after == 7.0
    assert said(401, b"", {"retry-after": "7"}).retry_after == 7.0


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123",
        "sk_live*****xyz",
        "Bearer eyJhbGciOi.J9.abc",
        "fw_3ZabcdefGhijk1mnop2qrs",
        "0b7c9d1e-1111-2222-3333-444455556666",
    ],
)
def test_a_key_in_a_message_is_not_repeated(secret: str) -> None:
    message = said(400, error(f"Incorrect API key provided: {secret}, see the console")).message
    assert message == "Incorrect API key provided: [redacted], see the console"


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_account_is_reported_in_our_words(status: int) -> None:
    refused = said(status, error("Incorrect API key provided: my-short-key"))
    assert refused.message == f"the host refused the gateway's account (HTTP {status})"
    assert refused.private == "Incorrect API key provided: my-short-key", (
        "for the operator; our own key is masked later"
    )
    assert said(status, {}).private == "nothing"


@pytest.mark.parametrize(("code", "fault"), [(400, "malformed"), (422, "malformed"), (429, "rate_limited")])
def test_a_clients_mistake_inside_a_200_is_still_the_clients(code: int, fault: str) -> None:
    failure = classify_in_band({"error": {"code": code, "message": "messages must not be empty"}})
    assert failure is not None
    assert failure.fault == fault


def test_ordinary_words_are_no_secret() -> None:
    text = "task-based chat_template_kwargs for deepseek-v3-2-251201 and risk-free context_length_exceeded"
    assert said(500, error(text)).message == text


def test_a_message_is_one_line_of_at_most_500_characters() -> None:
    message = said(500, error("a\n\n  b " * 1000)).message
    assert message.startswith("a b a b")
    assert len(message) == 500


@given(st.text(st.characters(codec="latin-1"), max_size=40))
def test_any_header_gives_a_bounded_wait(value: str) -> None:
    for name in (b"retry-after", b"retry-after-ms", b"x-ratelimit-reset-tokens"):
        wait = classify(429, [(name, value.encode("latin-1"))], b"", NOW).retry_after
        assert wait is None or 0 <= wait <= 3600


@given(status=st.integers(100, 599), body=st.binary(max_size=200))
def test_any_bytes_get_a_verdict(status: int, body: bytes) -> None:
    failure = classify(status, [], body, NOW)
    assert 0 < len(failure.message) <= 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "detail", "message", "code", "metadata", "raw", "loc", "msg"]), inner
        )
    ),
    max_leaves=12,
)


@given(status=st.integers(100, 599), payload=JSON)
def test_any_json_gets_a_verdict(status: int, payload: Any) -> None:
    assert classify(status, [], json.dumps(payload).encode(), NOW).message


@pytest.mark.parametrize(("levels", "message"), [(3, "x"), (4, "x"), (5, "HTTP 500 without a message")])
def test_a_detail_is_read_four_levels_deep(levels: int, message: str) -> None:
    body = b'{"detail":' * levels + b'{"message":"x"}' + b"}" * levels
    assert said(500, body).message == message


def test_deep_nesting_is_not_followed() -> None:
    body = b'{"detail":' * 900 + b'"x"' + b"}" * 900
    assert said(500, body).message == "HTTP 500 without a message"


IN_BAND: dict[str, tuple[dict[str, Any], Failure | None]] = {
    "chunk": ({"choices": [{"delta": {"content": "hi"}}]}, None),
    "null error": ({"error": None, "choices": []}, None),
    "openrouter": (
        {"error": {"code": 502, "message": "lost"}, "choices": [{"finish_reason": "error"}]},
        Failure(Fault.IN_BAND, "lost", status=200, code="502"),
    ),
    "in a choice": (
        {"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "lost"}, "finish_reason": "error"}]},
        Failure(Fault.IN_BAND, "lost", status=200, code="502"),
    ),
    "in the second choice, as text": (
        {"choices": [{"error": None}, {"message": {}, "error": "out of memory"}]},
        Failure(Fault.IN_BAND, "out of memory", status=200),
    ),
    "sglang text": ({"error": "out of memory"}, Failure(Fault.IN_BAND, "out of memory", status=200)),
    "vllm": (
        {"object": "error", "message": "aborted", "code": 500},
        Failure(Fault.IN_BAND, "aborted", status=200, code="500"),
    ),
    "a type alone": (
        {"type": "error"},
        Failure(Fault.IN_BAND, "an error without a message", status=200, code="error"),
    ),
    "a message alone": ({"message": "aborted"}, Failure(Fault.IN_BAND, "aborted", status=200)),
    "a detail alone": ({"detail": "Not Found", "choices": []}, Failure(Fault.IN_BAND, "Not Found", status=200)),
    "a message beside an answer": ({"type": "error", "message": "hi", "choices": [{"delta": {}}]}, None),
    "neither": ({"type": "ping"}, None),
    "rate": ({"error": {"code": 429, "message": "busy"}}, Failure(Fault.RATE_LIMITED, "busy", status=200, code="429")),
    "wordless rate": (
        {"error": {"code": 429}},
        Failure(Fault.RATE_LIMITED, "an error without a message", status=200, code="429"),
    ),
    "rate, as text": (
        {"error": {"code": "429", "message": "b"}},
        Failure(Fault.RATE_LIMITED, "b", status=200, code="429"),
    ),
}


@pytest.mark.parametrize(("payload", "expected"), IN_BAND.values(), ids=IN_BAND)
def test_errors_inside_a_200(payload: dict[str, Any], expected: Failure | None) -> None:
    assert classify_in_band(payload) == expected


FINISHES = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "eos": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "something_new": None,
    "": None,
    None: None,
    7: None,
}


@pytest.mark.parametrize(("reason", "expected"), FINISHES.items())
def test_clean_ends_have_one_name(reason: object, expected: str | None) -> None:
    assert canonical_reason(reason) == expected


# Ends that other gateways have taken for `stop`.
@pytest.mark.parametrize(
    "reason", ["abort", "cancelled", "error", "insufficient_system_resource", "network_error", "repetition"]
)
def test_unclean_ends_are_no_end(reason: str) -> None:
    assert canonical_reason(reason) is None
