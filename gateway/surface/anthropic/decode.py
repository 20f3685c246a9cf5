"""A request to Anthropic's Messages API as the body of a chat completion.

    system                              ──> a message of role `system`
    user: tool_result, text             ──> tool messages, then one user message
    assistant: thinking, text, tool_use ──> one message: `reasoning_content`, `content`, `tool_calls`
    thinking, stop_sequences, ...       ──> OpenAI's fields and OpenRouter's `reasoning`
    tools, tool_choice                  ──> see `tools`
    blocks without text                 ──> placeholders (see `notes`)

Only fields that need translating are read here. The resulting chat completion is validated afterwards.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.document.object_field import object_field
from gateway.document.string_field import string_field
from gateway.errors import BadRequest
from gateway.surface.anthropic.tools import read_tools
from gateway.surface.notes import note

Json = dict[str, Any]

BETWEEN_BLOCKS = "\n\n"
BILLING = "x-anthropic-billing-header:"  # Claude Code's first system line; its hash differs in every request
_PASSED_THROUGH = (
    *("model", "stream", "max_tokens", "temperature", "top_p", "top_k"),
    *("models", "plugins", "preset", "provider", "route", "session_id", "trace", "transforms"),
)
_THINKING = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
RESULT = "tool_result"
_VISUAL = frozenset({"document", "image"})
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})


def chat_body(body: Json) -> Json:
    """The equivalent chat completion request. Raises BadRequest that names the field without an equivalent."""
    chat = {name: body[name] for name in _PASSED_THROUGH if name in body}
    chat["messages"] = [*_system(body.get("system")), *_messages(body.get("messages"))]
    if body.get("mcp_servers"):
        raise BadRequest(
            "`mcp_servers` is not supported: the gateway calls no MCP servers; list their tools in `tools`",
            param="mcp_servers",
        )
    chat.update(read_tools(body))
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if user := object_field(body, "metadata").get("user_id"):
        chat["user"] = user
    chat.update(_thinking(body))
    if form := object_field(object_field(body, "output_config"), "format"):
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": form.get("schema")},
        }
    return chat


def _system(system: Any) -> list[Json]:
    if system is None:
        return []
    texts = [system] if isinstance(system, str) else [_text(*block, refuse=True) for block in _blocks(system, "system")]
    kept = [text for text in map(_without_billing, texts) if text]
    return [{"role": "system", "content": BETWEEN_BLOCKS.join(kept)}] if kept else []


def _without_billing(text: str) -> str:
    """Removes the line that differs in every request: at the start of the prompt, it would defeat prompt caching."""
    return text.partition("\n")[2].lstrip() if text.startswith(BILLING) else text


def _messages(messages: Any) -> list[Json]:
    chat: list[Json] = []
    newest = _newest(messages)
    for index, (message, where) in enumerate(_objects(messages, "messages")):
        role, content, place = message.get("role"), message.get("content"), f"{where}.content"
        if role not in ("user", "assistant", "system"):
            raise BadRequest(f"`{where}.role` must be user, assistant or system", param=f"{where}.role")
        if role == "system":
            _instruct(chat, content if isinstance(content, str) else _joined(content, place))
        elif isinstance(content, str):
            chat.append({"role": role, "content": content})
        elif role == "user":
            chat.extend(_user(content, place, refuse=index == newest))
        else:
            chat.append(_assistant(content, place))
    return chat


def _newest(messages: Any) -> int:
    """Index of the new user message, or -1 if the request ends with tool results. Images are rejected only in that
    message: an agent cannot edit its history, nor what a tool returned."""
    newest = -1
    for index, message in reversed(list(enumerate(messages if isinstance(messages, list) else ()))):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ("user", "system"):
            break
        if isinstance(content, list) and any(isinstance(one, dict) and one.get("type") == RESULT for one in content):
            return -1
        newest = index if newest < 0 and role == "user" else newest
    return newest


def _instruct(chat: list[Json], text: str) -> None:
    """Appends a system text to the user or tool message before it. The model's chat template starts the answer right
    after such a message, so a separate system message would read as the start of the answer."""
    if chat and chat[-1]["role"] in ("user", "tool"):
        chat[-1]["content"] += BETWEEN_BLOCKS + text
    else:
        chat.append({"role": "system", "content": text})


def _user(content: Any, where: str, refuse: bool) -> Iterator[Json]:
    """Tool messages come first: hosts require them directly after the calls."""
    texts = []
    for block, place in _blocks(content, where):
        if block["type"] == RESULT:
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _result(block, place)}
        else:
            texts.append(_text(block, place, refuse))
    if texts:
        yield {"role": "user", "content": BETWEEN_BLOCKS.join(texts)}


def _assistant(content: Any, where: str) -> Json:
    texts, reasoning, calls = [], [], []
    for block, place in _blocks(content, where):
        if block["type"] == "thinking":
            reasoning.append(string_field(block, "thinking", f"{place}."))
        elif block["type"] == "tool_use":
            calls.append(_call(block, place))
        elif block["type"] != "redacted_thinking":  # encrypted by Anthropic
            texts.append(_text(block, place))
    message: Json = {"role": "assistant", "content": BETWEEN_BLOCKS.join(texts) if texts or not calls else None}
    if reasoning:
        message["reasoning_content"] = BETWEEN_BLOCKS.join(reasoning)
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: Json, where: str) -> Json:
    try:
        arguments = orjson.dumps(object_field(block, "input", f"{where}.")).decode()
    except orjson.JSONEncodeError:
        raise BadRequest(f"`{where}.input` is nested too deeply", param=f"{where}.input") from None
    function = {"name": string_field(block, "name", f"{where}."), "arguments": arguments}
    return {"id": string_field(block, "id", f"{where}."), "type": "function", "function": function}


def _result(block: Json, where: str) -> str:
    content = block.get("content")
    text = content if isinstance(content, str) else _joined(content or [], f"{where}.content")
    if block.get("is_error") and not text.lower().startswith("error"):
        return f"Error: {text}"
    return text


def _joined(content: Any, where: str) -> str:
    return BETWEEN_BLOCKS.join(_text(block, place) for block, place in _blocks(content, where))


def _text(block: Json, where: str, refuse: bool = False) -> str:
    """The text of a block, or its placeholder. With `refuse`, an image or a file is an error."""
    kind = block["type"]
    if kind == "text":
        return string_field(block, "text", f"{where}.")
    source = block.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") == "text":
        return string_field(source, "data", f"{where}.source.")
    if refuse and kind in _VISUAL and isinstance(source, dict) and source.get("type") != "content":
        raise BadRequest(f"`{where}` has type {kind}, but the model reads text only", param=where)
    return note(block)


def _thinking(body: Json) -> Iterator[tuple[str, Any]]:
    """OpenRouter's `reasoning`. A token budget has no equivalent: it only switches reasoning on."""
    thinking = object_field(body, "thinking")
    if not thinking:
        return
    kind = thinking.get("type")
    if not isinstance(kind, str) or kind not in _THINKING:
        raise BadRequest(f"`thinking.type` must be one of {', '.join(_THINKING)}", param="thinking.type")
    reasoning: Json = {"enabled": _THINKING[kind]}
    effort = object_field(body, "output_config").get("effort")
    if _THINKING[kind] and isinstance(effort, str) and effort in _EFFORTS:
        reasoning["effort"] = effort
    yield "reasoning", reasoning


def _blocks(content: Any, where: str) -> Iterator[tuple[Json, str]]:
    for block, place in _objects(content, where):
        string_field(block, "type", f"{place}.")
        yield block, place


def _objects(listed: Any, where: str) -> Iterator[tuple[Json, str]]:
    """Each object of a list, with its path for error messages."""
    if not isinstance(listed, list):
        raise BadRequest(f"`{where}` must be a list", param=where)
    for index, one in enumerate(listed):
        place = f"{where}[{index}]"
        if not isinstance(one, dict):
            raise BadRequest(f"`{place}` must be an object", param=place)
        yield one, place
