"""A request to OpenAI's Responses API as a chat completion request.

    instructions, input ──> messages          tools, tool_choice ──> functions, as `tools` has read them
    text.format ──> response_format           max_output_tokens ──> max_tokens
    reasoning without `summary` ──> reasoning
    fields of both APIs, and unknown fields ──> unchanged

References to earlier responses have been replaced by the items themselves.
"""

from collections.abc import Mapping
from typing import Any

from gateway.document.object_field import object_field
from gateway.errors import BadRequest
from gateway.surface.responses.input import messages
from gateway.surface.responses.tools import Tools

_NO_CONVERSATIONS = "is not supported; use `previous_response_id`, or send the items as `input`"
_NO_LOGPROBS = "is supported for chat completions only; leave it out"
REFUSED: Mapping[str, str] = {  # field -> why it is rejected, and what to send instead
    "background": "is not supported; leave it out, and set `stream` for a long answer",
    "conversation": _NO_CONVERSATIONS,
    "logprobs": _NO_LOGPROBS,
    "messages": "is for chat completions; send the conversation as `input`",
    "n": "is not supported, because a response has one answer; leave it out",
    "prompt": "is not supported; send the template's text as `instructions` and `input`",
    "top_logprobs": _NO_LOGPROBS,
}
IGNORED = frozenset(  # settings of OpenAI's own service that do not affect an answer
    {
        "client_metadata",
        "context_management",
        "include",
        "max_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream_options",
        "truncation",
    }
)
TRANSLATED = frozenset(
    {
        "input",
        "instructions",
        "max_output_tokens",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "store",
        "text",
        "tool_choice",
        "tools",
    }
)
_NOT_FORWARDED = IGNORED | TRANSLATED | REFUSED.keys()
_OF_A_SCHEMA = ("name", "description", "schema", "strict")
_OF_THE_ANSWER = frozenset({"generate_summary", "summary"})  # fields of `reasoning` that affect only how it is returned


def chat_request(body: Mapping[str, Any], tools: Tools) -> dict[str, Any]:
    """The body of the chat completion; `tools` are the body's, already read. Raises BadRequest."""
    for name in REFUSED.keys() & body.keys():
        if body[name]:
            raise BadRequest(f"`{name}` {REFUSED[name]}", param=name)
    chat = {name: value for name, value in body.items() if value is not None and name not in _NOT_FORWARDED}
    chat["messages"] = messages(body.get("instructions"), body.get("input"))
    chat |= _limit(body.get("max_output_tokens")) | tools.fields
    chat |= _format(object_field(body, "text").get("format")) | _thinking(object_field(body, "reasoning"))
    return chat


def _limit(tokens: Any) -> dict[str, Any]:
    if tokens is None:
        return {}
    if type(tokens) is not int or tokens < 1:
        raise BadRequest("`max_output_tokens` must be a positive whole number", param="max_output_tokens")
    return {"max_tokens": tokens}


def _format(form: Any) -> dict[str, Any]:
    kind = form.get("type") if isinstance(form, dict) else form
    if kind in (None, "text"):
        return {}
    if kind == "json_object":
        return {"response_format": {"type": kind}}
    if kind == "json_schema" and isinstance(form.get("schema"), dict):
        return {"response_format": {"type": kind, kind: _given(form, _OF_A_SCHEMA)}}
    message = "`text.format` must have type text, json_object or json_schema, the last with `name` and `schema`"
    raise BadRequest(message, param="text.format")


def _thinking(reasoning: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in reasoning.items() if name not in _OF_THE_ANSWER and value is not None}
    return {"reasoning": fields} if fields else {}


def _given(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name) is not None}
