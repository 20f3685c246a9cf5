"""Finish reasons of all dialects, each by its canonical name; what is no end of an answer stays none."""

import pytest

from gateway.types.finish_reason import canonical_reason, is_end

ENDS = {
    "stop": [
        *("stop", "STOP", "Stop", "eos", "eos_token", "stop_token", "stop_sequence", "stopSequence", "STOP_SEQUENCE"),
        *("end_turn", "endTurn", "COMPLETE", "completed", "endoftext", "stop_words", "end_id", "normal"),
        *("FINISH_REASON_STOP", "stop-sequence"),
    ],
    "length": [
        *(
            "length",
            "LENGTH",
            "max_tokens",
            "MAX_TOKENS",
            "maxTokens",
            "max-tokens",
            "model_length",
            "max_output_tokens",
        ),
        *("max_length", "max_output_tokens", "token_limit", "maximum_tokens", "model_context_window_exceeded"),
        "FINISH_REASON_MAX_TOKENS",
    ],
    "tool_calls": ["tool_calls", "tool_call", "TOOL_CALL", "tool-calls", "tool_use", "toolUse", "function_call"],
    "content_filter": [
        *("content_filter", "content-filter", "CONTENT_FILTER", "content_filtered", "guardrail_intervened", "SAFETY"),
        *("RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "refusal", "sensitive", "ERROR_TOXIC"),
    ],
}
NO_ENDS = [
    *("abort", "error", "ERROR", "insufficient_system_resource", "repetition", "network_error", "cancelled", "timeout"),
    *(
        "MALFORMED_FUNCTION_CALL",
        "OTHER",
        "ERROR_LIMIT",
        "USER_CANCEL",
        "malformed_tool_use",
        "time_limit",
        "pause_turn",
    ),
    *("pause_turn", "stopped by an error", "not stop"),
]


@pytest.mark.parametrize(("reason", "name"), [(reason, name) for name, reasons in ENDS.items() for reason in reasons])
def test_clean_ends(reason: str, name: str) -> None:
    assert canonical_reason(reason) == name
    assert is_end(reason)


@pytest.mark.parametrize("reason", NO_ENDS)
def test_other_ends_are_not_clean(reason: str) -> None:
    assert canonical_reason(reason) is None
    assert is_end(reason)


@pytest.mark.parametrize("reason", [None, "", "null", "NULL", "none", "FINISH_REASON_UNSPECIFIED", "not_finished", 0])
def test_what_hosts_write_in_mid_stream_is_no_end(reason: object) -> None:
    assert canonical_reason(reason) is None
    assert not is_end(reason)


@pytest.mark.parametrize("reason", [7, {"a": 1}, ["stop"], True])
def test_what_is_no_text_is_no_clean_end(reason: object) -> None:
    assert canonical_reason(reason) is None
    assert is_end(reason)
