"""A request to Anthropic's Messages API as the body of a chat completion.

    system                              ──> a message of role `system`
    user: tool_result, text             ──> tool messages, then one user message
    assistant: thinking, text, tool_use ──> one message: `reasoning_content`, `content`, `tool_calls`
    tools, tool_choice, thinking, ...   ──> OpenAI's fields and OpenRouter's `reasoning`

Only what needs other words is read here. The chat completion's own checks come after it.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.errors import BadRequest

Json = dict[str, Any]

BETWEEN_BLOCKS = "\n\n"
BILLING = "x-anthropic-billing-header:"  # Claude Code's first system line; its hash differs in every request
OMITTED = "[{}: left out, the model reads text only]"
_AS_THEY_ARE = (
    *("model", "stream", "max_tokens", "temperature", "top_p", "top_k"),
    *("models", "plugins", "preset", "provider", "route", "session_id", "trace", "transforms"),
)
_THINKING = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_body(asked: Json) -> Json:
    """The chat completion that `asked` means. Raises BadRequest with the place of what cannot be said."""
    chat = {name: asked[name] for name in _AS_THEY_ARE if name in asked}
    chat["messages"] = [*_system(asked.get("system")), *_messages(asked.get("messages"))]
    if asked.get("mcp_servers"):
        raise BadRequest(
            "`mcp_servers`: the gateway calls no servers; give their tools in `tools`", param="mcp_servers"
        )
    if tools := asked.get("tools"):
        chat["tools"] = [_tool(tool, where) for tool, where in _objects(tools, "tools")]
    if choice := _object(asked, "tool_choice"):
        chat.update(_tool_choice(choice))
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
    texts = [system] if isinstance(system, str) else [_text(block, where) for block, where in _blocks(system, "system")]
    kept = [text for text in map(_without_billing, texts) if text]
    return [{"role": "system", "content": BETWEEN_BLOCKS.join(kept)}] if kept else []


def _without_billing(text: str) -> str:
    """Without what differs each time: in front of everything, it would keep hosts from ever finding a prompt cached."""
    return text.partition("\n")[2].lstrip() if text.startswith(BILLING) else text


def _messages(messages: Any) -> list[Json]:
    said: list[Json] = []
    for message, where in _objects(messages, "messages"):
        role, content, place = message.get("role"), message.get("content"), f"{where}.content"
        if role not in ("user", "assistant", "system"):
            raise BadRequest(f"`{where}.role` must be user, assistant or system", param=f"{where}.role")
        if role == "system":
            _instruct(said, content if isinstance(content, str) else _joined(content, place))
        elif isinstance(content, str):
            said.append({"role": role, "content": content})
        elif role == "user":
            said.extend(_user(content, place))
        else:
            said.append(_assistant(content, place))
    return said


def _instruct(said: list[Json], text: str) -> None:
    """Adds a system text to the question or result before it: the model's template lets the answer begin right behind
    those, so that the model would take a message of its own for the start of its answer."""
    if said and said[-1]["role"] in ("user", "tool"):
        said[-1]["content"] += BETWEEN_BLOCKS + text
    else:
        said.append({"role": "system", "content": text})


def _user(content: Any, where: str) -> Iterator[Json]:
    """Tool messages come first: hosts want them directly behind the calls."""
    texts = []
    for block, place in _blocks(content, where):
        if block["type"] == "tool_result":
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _result(block, place)}
        else:
            texts.append(_text(block, place))
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
    text = content if isinstance(content, str) else _joined(content or [], f"{where}.content", shown=True)
    if block.get("is_error") and not text.lower().startswith("error"):
        return f"Error: {text}"
    return text


def _joined(content: Any, where: str, shown: bool = False) -> str:
    return BETWEEN_BLOCKS.join(_text(block, place, shown) for block, place in _blocks(content, where))


def _text(block: Json, where: str, shown: bool = False) -> str:
    """The text of a block. One that holds none is refused; where a tool has `shown` it, the model is told instead:
    it stays in the conversation, and an agent could never go on."""
    if block["type"] == "text":
        return _string(block, "text", where)
    source = block.get("source")
    if block["type"] == "document" and isinstance(source, dict) and source.get("type") == "text":
        return _string(source, "data", f"{where}.source")
    if shown:
        return OMITTED.format(block["type"])
    raise BadRequest(f"`{where}`: the model reads text only, no block of type {block['type']}", param=where)


def _tool(tool: Json, where: str) -> Json:
    if (kind := tool.get("type") or "custom") != "custom":
        raise BadRequest(f"`{where}`: {kind} is run by Anthropic; give a tool with an `input_schema`", param=where)
    function = {"name": _string(tool, "name", where), "parameters": _object(tool, "input_schema", f"{where}.")}
    function |= {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: Json) -> Iterator[tuple[str, Any]]:
    kind = choice.get("type")
    if kind == "tool":
        yield "tool_choice", {"type": "function", "function": {"name": _string(choice, "name", "tool_choice")}}
    elif isinstance(kind, str) and kind in _CHOICES:
        yield "tool_choice", _CHOICES[kind]
    else:
        raise BadRequest("`tool_choice.type` must be auto, any, tool or none", param="tool_choice.type")
    if choice.get("disable_parallel_tool_use"):
        yield "parallel_tool_calls", False


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
