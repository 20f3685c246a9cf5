"""Three requests, and what each host is sent for them."""

import json
from pathlib import Path
from typing import Any

import orjson

from gateway.config import load
from gateway.types import Endpoint, Request
from gateway.upstream.dialects import outgoing, relays, thinking_requested

FOLDER = Path(__file__).parent / "requests"
OWN = Path(__file__).parent / "engines.yaml"  # the catalogue's serving engines, as somebody's own endpoints

_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
INPUTS: dict[str, dict[str, Any]] = {
    "plain": {
        "model": "deepseek-v3.2",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "temperature": 0.2,
        "seed": 7,
    },
    "thinking": {
        "model": "deepseek-v3.2",
        "messages": [
            {"role": "user", "content": "What is the weather in Paris?"},
            {
                "role": "assistant",
                "content": None,
                "reasoning": "I need the weather.",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning": {"effort": "high"},
        "max_completion_tokens": 4000,
    },
    "tools": {
        "model": "deepseek-v3.2",
        "messages": [
            {"role": "developer", "content": "Answer in JSON."},
            {"role": "user", "content": "What is the weather in Paris?"},
        ],
        "tools": [_TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "max_tokens": 500,
        "provider": {"order": ["novita"]},
        "user": "u1",
    },
}


def hosts() -> tuple[Endpoint, ...]:
    """Every endpoint of the catalogue that has an address, and its serving engines."""
    endpoints = load(OWN, {}).models[0].endpoints
    return tuple(one for one in endpoints if one.base_url)


def asked(name: str) -> Request:
    """One of the inputs, as a request."""
    body = INPUTS[name]
    return Request(
        id="gen-1",
        body=body,
        model="deepseek/deepseek-v3.2",
        policy="balanced",
        stream=bool(body.get("stream")),
        thinking=bool(thinking_requested(body)),
        raw=orjson.dumps(body),
    )


def sent(endpoint: Endpoint) -> str:
    """The host's golden file: keys stand in the order in which they go out."""
    bodies = {name: json.loads(outgoing(asked(name), endpoint)) for name in INPUTS}
    return json.dumps(bodies, indent=1, ensure_ascii=False) + "\n"


def file(endpoint: Endpoint) -> Path:
    return FOLDER / f"{endpoint.id.replace('/', '-')}.json"


def relay_table() -> str:
    """The table in docs/hosts.md: how each host's streams reach a client of `/v1`, and why."""
    lines = ["| endpoint | plain | thinking | why |", "|---|---|---|---|"]
    for endpoint in hosts():
        plain, thinking = (_way(endpoint, name) for name in ("plain", "thinking"))
        lines.append(f"| `{endpoint.id}` | {plain} | {thinking} | {_why(endpoint)} |")
    return "\n".join(lines) + "\n"


def support_table() -> str:
    """The table in docs/hosts.md: what each host is sent for thinking, and what it takes."""
    lines = ["| endpoint | thinking on | thinking off | dropped | JSON | more |", "|---|---|---|---|---|---|"]
    for endpoint in hosts():
        dialect = endpoint.dialect
        on, off = (_fields(endpoint, thinking) for thinking in (True, False))
        dropped = ", ".join(f"`{name}`" for name in dialect.drop) or "-"
        modes = ", ".join(mode for mode in ("json_object", "json_schema") if mode in endpoint.supports) or "-"
        more = [one for one in endpoint.supports if one not in ("tools", "json_object", "json_schema")]
        more += ["not tools with JSON"] if dialect.tools_or_format else []
        lines.append(f"| `{endpoint.id}` | {on} | {off} | {dropped} | {modes} | {', '.join(more) or '-'} |")
    return "\n".join(lines) + "\n"


def _fields(endpoint: Endpoint, thinking: bool) -> str:
    """What the switch adds to a plain request."""
    plain = {"model": "m", "messages": []}
    asked = Request("gen-1", plain, "m", "p", thinking=thinking, raw=orjson.dumps(plain))
    body = json.loads(outgoing(asked, endpoint))
    added = {name: value for name, value in body.items() if name not in plain}
    if body["model"] != endpoint.model:
        added = {"model": body["model"], **added}
    return f"`{json.dumps(added)[1:-1]}`" if added else "-"


def _way(endpoint: Endpoint, name: str) -> str:
    return "relay" if relays(endpoint, asked(name)) else "rewrite"


def _why(endpoint: Endpoint) -> str:
    dialect = endpoint.dialect
    if endpoint.adapter == "litellm":
        return "its chunks are made by the adapter"
    if dialect.null_usage:
        return '`"usage": null` in every chunk, which strict clients refuse'
    if dialect.reasoning_field == "unknown":
        return "it is not known in which field it writes reasoning"
    if dialect.reasoning_field != "reasoning_content":
        return f"reasoning comes as `{dialect.reasoning_field}`"
    return "its chunks have the shape already"
