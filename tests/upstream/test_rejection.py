"""What hosts say when they refuse a request, engine by engine: whose fault it is, and what is remembered of it."""

import json
from typing import Any

import pytest

from gateway.types import Failure
from gateway.upstream.host_error import classify, classify_in_band
from gateway.upstream.rejection import counted


def refused(message: str, **fields: Any) -> Failure:
    return classify(400, [], json.dumps({"error": {"message": message, **fields}}).encode(), 0.0)


TOO_LONG = {
    "vLLM": "This model's maximum context length is 4096 tokens. However, you requested 4224 tokens (4096 in the"
    " messages, 128 in the completion). Please reduce the length of the messages or completion.",
    "vLLM, the answer": "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context"
    " length is 131072 tokens and your request has 120000 input tokens (32000 > 131072 - 120000).",
    "vLLM, old": "max_tokens must be at least 1, got -812.",
    "vLLM, decoder": "The decoder prompt (length 140000) is longer than the maximum model length of 131072.",
    "SGLang": "The input (140000 tokens) is longer than the model's context length (131072 tokens).",
    "SGLang, length": "Input length (4096 tokens) exceeds the maximum allowed length (4090 tokens).",
    "llama.cpp": "the request exceeds the available context size. try increasing the context size",
    "llama.cpp, counted": "request (2114 tokens) exceeds the available context size (2048 tokens), try increasing it",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "TGI, inputs": "Input validation error: `inputs` must have less than 1024 tokens. Given: 3000",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    "Copilot": "prompt token count of 140000 exceeds the limit of 128000",
    "Moonshot": "Invalid request: Your request exceeded model token limit: 131072",
    "Zhipu": "Prompt exceeds max length",
    "Bedrock": "Input is too long for requested model.",
    "Vertex": "The input token count (1100000) exceeds the maximum number of tokens allowed (1048575).",
    "Vertex, submit": "Unable to submit request because the input token count is 40000 but model supports 32768",
    "Groq": "Please reduce the length of the messages or completion.",
    "Groq, a minute": "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 8000",
    "Fireworks": "The prompt is too long: 140000, model maximum context length: 131071",
    "SiliconFlow": "length of prompt_tokens (140000) must be less than max_seq_len (131072).",
    "Ark": "Total tokens of image and text exceed max message tokens. Request id: 0217",
    "DashScope": "Range of input length should be [1, 129024]",
    "Anthropic": "input length and `max_tokens` exceed context limit: 180000 + 32000 > 200000",
}


@pytest.mark.parametrize("message", TOO_LONG.values(), ids=TOO_LONG)
def test_a_prompt_that_is_too_long_is_known_by_any_hosts_words(message: str) -> None:
    failure = refused(message)
    assert (failure.fault, failure.param, failure.about) == ("rejected", "context", "size")


OF_THE_ACCOUNT = {
    "region": "Model m is not available in your region.",
    "location": "User location is not supported for the API use.",
    "unknown": "Unknown model: m",
    "Bedrock": "The provided model identifier is invalid.",
    "Bedrock, on demand": "Invocation of model ID m with on-demand throughput isn't supported. Retry with a profile.",
    "Azure": "The chatCompletion operation does not work with the specified model, m.",
    "Together": "Unable to access model m. Please visit the list of supported models.",
    "Groq": "The model `m` has been decommissioned and is no longer supported.",
    "Groq, restricted": "Organization has been restricted. Please reach out to support.",
    "DashScope": "Access denied, please make sure your account is in good standing.",
    "Ark": "The model or endpoint m does not exist or you do not have access to it.",
    "Ark, unpaid": "The request failed because your account has an overdue balance.",
    "Ark, closed": "Your account 21 has not activated the model m.",
    "SiliconFlow": "Model does not exist. Please check it carefully.",
    "vLLM": "The model `m` does not exist.",
}


@pytest.mark.parametrize("message", OF_THE_ACCOUNT.values(), ids=OF_THE_ACCOUNT)
def test_what_the_gateways_account_lacks_is_not_the_requests_fault(message: str) -> None:
    assert refused(message).fault == "account"


WITHOUT_TOOLS = {
    "vLLM": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    "vLLM, required": 'tool_choice="required" requires --tool-call-parser to be set',
    "llama.cpp": "tools param requires --jinja flag",
    "Bedrock": "This model doesn't support tool use.",
    "Bedrock, streamed": "This model doesn't support tool use in streaming mode.",
    "SiliconFlow": "Function call is not supported for this model.",
    "DashScope": "Tool calls are not supported by this model",
    "Ollama": "registry.test/m does not support tools",
    "OpenRouter": "No endpoints found that support tool use: tool use is not supported",
    "DeepSeek": "deepseek-reasoner does not support Function Calling",
}


@pytest.mark.parametrize("message", WITHOUT_TOOLS.values(), ids=WITHOUT_TOOLS)
def test_a_host_without_tools_is_one_for_all_tools(message: str) -> None:
    failure = refused(message)
    assert (failure.fault, failure.param, failure.about) == ("rejected", "tools", "parameter")


MALFORMED = {
    "DeepSeek": "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
    "DeepSeek, unanswered": "An assistant message with 'tool_calls' must be followed by tool messages responding to"
    " each 'tool_call_id'. The following tool_call_ids did not have response messages: call_1",
    "DeepSeek, few": "insufficient tool messages following tool_calls message",
    "OpenAI": "Invalid parameter: messages with role 'tool' must be a response to a preceding message.",
    "Anthropic": "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: c1",
    "Mistral": "Not the same number of function calls and responses",
    "Bedrock": "The number of toolResult blocks at messages.2.content exceeds the number of toolUse blocks",
    "Bedrock, first": "A conversation must start with a user message. Try again with a conversation that does.",
    "Vertex": "Please ensure that the number of function response parts is equal to the number of function call parts",
    "template": "Conversation roles must alternate user/assistant/user/assistant/...",
    "last role": "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    "JSON": "The request body is not valid JSON",
    "JSON, decoder": "JSON decode error: Expecting value: line 1 column 2",
    "no messages": "messages must not be empty",
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_a_request_that_is_broken_is_broken_everywhere(message: str) -> None:
    assert refused(message).fault == "malformed"


OF_A_VALUE: dict[str, tuple[str, dict[str, Any], str | None, str]] = {
    # name: (message, fields, param, about)
    "schema": (
        "Invalid schema for function 'f': keyword '$ref' is not supported",
        {"param": "tools[0].function.parameters"},
        "tools",
        "value",
    ),
    "schema without a place": ("Invalid schema for function 'f': $ref is not supported", {}, "tools", "value"),
    "temperature": (
        "Unsupported value: 'temperature' does not support 5 with this model.",
        {"param": "temperature", "code": "unsupported_value"},
        "temperature",
        "value",
    ),
    "too hot": ("temperature must be at most 2", {"param": "temperature"}, "temperature", "size"),
    "a range": ("temperature should be between 0 and 2", {}, "temperature", "value"),
    "choice": ("Thinking mode does not support this tool_choice", {}, "tool_choice", "value"),
    "tools": (
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got 130 instead.",
        {"param": "tools", "code": "array_above_max_length"},
        "tools",
        "size",
    ),
    "too many": ("too many tools: 130, at most 128", {}, "tools", "size"),
    "stop": ("Invalid 'stop': array too long, the maximum is 4", {}, "stop", "size"),
    "seed": ("Invalid 'seed': integer above maximum value", {"param": "seed"}, "seed", "size"),
    "user": ("The unique ID of the user must be between 6 and 128", {}, "user", "value"),
    "long user": ("string too long", {"param": "user", "code": "string_above_max_length"}, "user", "size"),
    "n": ("Only one completion (n=1) is allowed", {}, "n", "size"),
    "n, Groq": ("'n' : number must be at most 1", {"param": "n"}, "n", "size"),
    "answer": ("`max_tokens` must be less than or equal to `32768`", {}, "max_tokens", "size"),
    "answer, Bedrock": ("The maximum tokens you requested exceeds the model limit of 4096.", {}, "max_tokens", "size"),
    "answer with its prompt, vLLM": (
        "max_tokens is too large: 32000. This model's maximum context length is 131072 tokens.",
        {"param": "max_tokens"},
        "context",
        "size",
    ),
    "context of something else": (
        "maximum context length is 131072 tokens",
        {"param": "metadata"},
        "metadata",
        "size",
    ),
    "word": (
        "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.",
        {},
        "response_format",
        "request",
    ),
    "word, DashScope": (
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        {},
        "response_format",
        "request",
    ),
    "format": ("This response_format type is unavailable now", {}, "response_format", "parameter"),
    "schema of a format": ("Invalid schema for response_format 'x': missing type", {}, "response_format", "value"),
    "field": ("Unsupported parameter: 'seed'", {"param": "seed"}, "seed", "parameter"),
    "nested field": ("Extra inputs are not permitted", {"param": "tools.0.function.strict"}, "tools", "value"),
    "unknown words": ("computer says no", {}, None, "request"),
    "unknown words, a field": ("computer says no", {"param": "messages[3].content"}, "messages", "request"),
}


@pytest.mark.parametrize(("message", "fields", "param", "about"), OF_A_VALUE.values(), ids=OF_A_VALUE)
def test_what_is_refused_is_as_little_as_the_words_say(
    message: str, fields: dict[str, Any], param: str | None, about: str
) -> None:
    failure = refused(message, **fields)
    assert (failure.fault, failure.param, failure.about) == ("rejected", param, about)


@pytest.mark.parametrize("code", [400, "400", "invalid_request_error", "context_length_exceeded"])
def test_a_refusal_inside_a_200_is_reported_as_the_clients(code: object) -> None:
    failure = classify_in_band({"error": {"code": code, "message": "maximum context length is 100 tokens"}})
    assert failure is not None
    assert (failure.fault, failure.param, failure.status) == ("rejected", "context", 400)


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("vLLM", (4096, 4096)),
        ("vLLM, the answer", (120_000, 131_072)),
        ("SGLang", (140_000, 131_072)),
        ("llama.cpp", (None, None)),
        ("TGI", (5_000, 4_096)),
        ("Anthropic", (180_000, 200_000)),
        ("Zhipu", (None, None)),
    ],
)
def test_what_a_host_has_counted_is_read_from_its_words(name: str, figures: tuple[int | None, int | None]) -> None:
    assert counted(TOO_LONG[name]) == figures


def test_no_number_is_too_long_to_be_read() -> None:
    assert counted(f"context length is {'9' * 5_000} tokens, has 1,000 input tokens") == (1_000, None)


@pytest.mark.parametrize(
    "message",
    [
        "unable to access the image url",
        "this model supports 4 stop sequences, one of them is not available",
        "the tool schema of model inputs is odd",
        "invalid json schema for response_format",
    ],
)
def test_words_of_an_account_or_of_json_inside_other_words_are_not_believed(message: str) -> None:
    assert refused(message).fault == "rejected"
