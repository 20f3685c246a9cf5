"""A request to Anthropic's Messages API as the body of a chat completion.

    system                              ──> a message of role `system`
    user: tool_result, text             ──> tool messages, then one user message
    assistant: thinking, text, tool_use ──> one message: `reasoning_content`, `content`, `tool_calls`
    thinking, stop_sequences, ...       ──> OpenAI's fields and OpenRouter's `reasoning`
    tools, tool_choice                  ──> see `anthropic_tools`
    blocks that hold no text            ──> notes (see `notes`)

Only what needs other words is read here. The chat completion's own checks come after it.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.surface.anthropic.tools import read_tools
from gateway.surface.notes import note

Json = dict[str, Any]

BETWEEN_BLOCKS = "\n\n"
BILLING = "x-anthropic-billing-header:"  # Claude Code's first system line; its hash differs in every request
_AS_THEY_ARE = (
    *("model", "stream", "max_tokens", "temperature", "top_p", "top_k"),
    *("models", "plugins", "preset", "provider", "route", "session_id", "trace", "transforms"),
)
_THINKING = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
RESULT = "tool_result"
_SHOWN = frozenset({"document", "image"})
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})


def chat_body(asked: Json) -> Json:
    """The chat completion that `asked` means. Raises BadRequest with the place of what cannot be said."""
    chat = {name: asked[name] for name in _AS_THEY_ARE if name in asked}
    chat["messages"] = [*_system(asked.get("system")), *_messages(asked.get("messages"))]
    if asked.get("mcp_servers"):
        raise BadRequest(
            "`mcp_servers`: the gateway calls no servers; give their tools in `tools`", param="mcp_servers"
        )
    chat.update(read_tools(asked))
    if asked.get("stop_sequences"):
        chat["stop"] = asked["stop_sequences"]
    if user := _object(asked, "metadata").get("user_id"):
        chat["user"] = user
    chat.update(_thinking(asked))
    if form := _object(_object(asked, "output_config"), "format"):
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
    """Without what differs each time: in front of everything, it would keep hosts from ever finding a prompt cached."""
    return text.partition("\n")[2].lstrip() if text.startswith(BILLING) else text


def _messages(messages: Any) -> list[Json]:
    said: list[Json] = []
    newest = _newest(messages)
    for index, (message, where) in enumerate(_objects(messages, "messages")):
        role, content, place = message.get("role"), message.get("content"), f"{where}.content"
        if role not in ("user", "assistant", "system"):
            raise BadRequest(f"`{where}.role` must be user, assistant or system", param=f"{where}.role")
        if role == "system":
            _instruct(said, content if isinstance(content, str) else _joined(content, place))
        elif isinstance(content, str):
            said.append({"role": role, "content": content})
        elif role == "user":
            said.extend(_user(content, place, refuse=index == newest))
        else:
            said.append(_assistant(content, place))
    return said


def _newest(messages: Any) -> int:
    """The place of the user's message that is new, -1 where a tool has answered: only there may an image be refused. An
    agent could not take back what came before, nor what its tool has shown."""
    newest = -1
    for index, message in reversed(list(enumerate(messages if isinstance(messages, list) else ()))):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ("user", "system"):
            break
        if isinstance(content, list) and any(isinstance(one, dict) and one.get("type") == RESULT for one in content):
            return -1
        newest = index if newest < 0 and role == "user" else newest
    return newest


def _instruct(said: list[Json], text: str) -> None:
    """Adds a system text to the question or result before it: the model's template lets the answer begin right behind
    those, so that the model would take a message of its own for the start of its answer."""
    if said and said[-1]["role"] in ("user", "tool"):
        said[-1]["content"] += BETWEEN_BLOCKS + text
    else:
        said.append({"role": "system", "content": text})


def _user(content: Any, where: str, refuse: bool) -> Iterator[Json]:
    """Tool messages come first: hosts want them directly behind the calls."""
    texts = []
    for block, place in _blocks(content, where):
        if block["type"] == RESULT:
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _result(block, place)}
        else:
            texts.append(_text(block, place, refuse))
    if texts:
        yield {"role": "user", "content": BETWEEN_BLOCKS.join(texts)}


def _assistant(content: Any, where: str) -> Json:
    texts, thoughts, calls = [], [], []
    for block, place in _blocks(content, where):
        if block["type"] == "thinking":
            thoughts.append(_string(block, "thinking", place))
        elif block["type"] == "tool_use":
            calls.append(_call(block, place))
        elif block["type"] != "redacted_thinking":  # which nobody but Anthropic can read
            texts.append(_text(block, place))
    message: Json = {"role": "assistant", "content": BETWEEN_BLOCKS.join(texts) if texts or not calls else None}
    if thoughts:
        message["reasoning_content"] = BETWEEN_BLOCKS.join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: Json, where: str) -> Json:
    try:
        arguments = orjson.dumps(_object(block, "input", f"{where}.")).decode()
    except orjson.JSONEncodeError:
        raise BadRequest(f"`{where}.input` is nested too deeply", param=f"{where}.input") from None
    function = {"name": _string(block, "name", where), "arguments": arguments}
    return {"id": _string(block, "id", where), "type": "function", "function": function}


def _result(block: Json, where: str) -> str:
    content = block.get("content")
    text = content if isinstance(content, str) else _joined(content or [], f"{where}.content")
    if block.get("is_error") and not text.lower().startswith("error"):
        return f"Error: {text}"
    return text


def _joined(content: Any, where: str) -> str:
    return BETWEEN_BLOCKS.join(_text(block, place) for block, place in _blocks(content, where))


def _text(block: Json, where: str, refuse: bool = False) -> str:
    """The text of a block, or a note in its place. An image or a file is refused where that is wanted."""
    kind = block["type"]
    if kind == "text":
        return _string(block, "text", where)
    source = block.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") == "text":
        return _string(source, "data", f"{where}.source")
    if refuse and kind in _SHOWN and isinstance(source, dict) and source.get("type") != "content":
        raise BadRequest(f"`{where}`: the model reads text only, no block of type {kind}", param=where)
    return note(block)


def _thinking(asked: Json) -> Iterator[tuple[str, Any]]:
    """The model thinks or does not: a budget says no more than that."""
    thinking = _object(asked, "thinking")
    if not thinking:
        return
    kind = thinking.get("type")
    if not isinstance(kind, str) or kind not in _THINKING:
        raise BadRequest(f"`thinking.type` must be one of {', '.join(_THINKING)}", param="thinking.type")
    reasoning: Json = {"enabled": _THINKING[kind]}
    effort = _object(asked, "output_config").get("effort")
    if _THINKING[kind] and isinstance(effort, str) and effort in _EFFORTS:
        reasoning["effort"] = effort
    yield "reasoning", reasoning


def _blocks(content: Any, where: str) -> Iterator[tuple[Json, str]]:
    for block, place in _objects(content, where):
        _string(block, "type", place)
        yield block, place


def _objects(listed: Any, where: str) -> Iterator[tuple[Json, str]]:
    """Each object of a list, with its place."""
    if not isinstance(listed, list):
        raise BadRequest(f"`{where}` must be a list", param=where)
    for index, one in enumerate(listed):
        place = f"{where}[{index}]"
        if not isinstance(one, dict):
            raise BadRequest(f"`{place}` must be an object", param=place)
        yield one, place


def _object(of: Json, name: str, where: str = "") -> Json:
    """An object, empty where there is none; `where` is its place with a dot behind it."""
    value = of.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"`{where}{name}` must be an object", param=f"{where}{name}")
    return value or {}


def _string(of: Json, name: str, where: str) -> str:
    value = of.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"`{where}.{name}` must be a text", param=f"{where}.{name}")
    return value
