"""Maps the finish reasons of hosts to OpenAI's.

"STOP", "eos_token", "end_turn"          stop
"MAX_TOKENS", "model_length"             length
"tool_use", "function_call"              tool_calls
"SAFETY", "guardrail_intervened"         content_filter
"abort", "error", "repetition", ...      none: not a regular end of an answer
"""

import re

_STOP = (
    *("stop", "eos", "eos_token", "stop_token", "stop_sequence", "stop_word", "stop_words", "end_turn", "end_id"),
    *("complete", "completed", "endoftext", "end_of_text", "normal"),
)
_LENGTH = (
    *("length", "max_length", "model_length", "token_limit", "limit", "max_tokens", "max_new_tokens", "maximum_tokens"),
    *("max_output_tokens", "max_completion_tokens", "model_context_window_exceeded"),
)
_TOOL_CALLS = ("tool_calls", "tool_call", "tool_use", "function_call", "function_calls")
_CONTENT_FILTER = (
    *("content_filter", "content_filtered", "guardrail_intervened", "refusal", "sensitive", "error_toxic"),
    *("safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety"),
)
_NOT_LETTERS = re.compile(r"[^a-z]+")


def _letters(reason: str) -> str:
    """The letters of a reason. Hosts write `MAX_TOKENS`, `max-tokens`, `maxTokens` and `FINISH_REASON_MAX_TOKENS`."""
    return _NOT_LETTERS.sub("", reason.lower()).removeprefix("finishreason")


# Of vLLM, SGLang, TGI, TensorRT-LLM, llama.cpp, OpenAI, Gemini, Bedrock, Mistral, Cohere, Anthropic, Zhipu, watsonx and
# others. Any other reason is not a regular end: `abort`, `error`, `insufficient_system_resource`, `repetition`, ...
_CLEAN = {
    _letters(reason): name
    for name, reasons in (
        ("stop", _STOP),
        ("length", _LENGTH),
        ("tool_calls", _TOOL_CALLS),
        ("content_filter", _CONTENT_FILTER),
    )
    for reason in reasons
}
CLEAN = frozenset(_CLEAN.values())
_NOT_ENDED = frozenset({"", "null", "none", "unspecified", "notfinished"})  # sent as text before the end


def canonical_reason(reason: object) -> str | None:
    """The canonical name of a regular end: stop, length, tool_calls or content_filter. None for anything else."""
    if not isinstance(reason, str):
        return None
    return reason if reason in CLEAN else _CLEAN.get(_letters(reason))


def is_end(reason: object) -> bool:
    """Whether a finish reason means that the answer has ended, regularly or not."""
    if isinstance(reason, str):
        return reason in CLEAN or _letters(reason) not in _NOT_ENDED
    return bool(reason)
