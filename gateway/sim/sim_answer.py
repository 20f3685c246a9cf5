"""The simulated model's answer: a function of the request alone, so every host gives the same one, streamed or whole.

tools requested        -> calls with arguments that fit their schema, and with the values that the text states
response_format        -> JSON that fits the schema, with these values
a sum, a hidden code   -> the right answer
anything else          -> prose, of the length in `max_tokens` or "about N words", else of a random length
thinking switched on   -> reasoning before any of these
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
import xxhash

from gateway.sim.host_prompt_cache import content_text
from gateway.sim.schema_example import example
from gateway.sim.stated import stated_answer, stated_values
from gateway.sim.text import pieces, sentences
from gateway.types import Dialect

NOT_CONTENT = frozenset(  # fields that do not affect the answer; a host's own switch of thinking is read before
    {"model", "stream", "stream_options", "user", "metadata"}
    | {"chat_template_args", "chat_template_kwargs", "enable_thinking", "reasoning", "reasoning_effort", "thinking"}
)
LONGEST = 16_384  # tokens
TYPICAL_LENGTH = 40  # median output tokens: short, for interactive use; a replayed trace has its own lengths
LENGTH_SIGMA = 0.8
REASONING_SHARE = 0.4
_LENGTH_REQUEST = re.compile(r"about (\d{1,5}) words")
_OFF = (False, "disabled", "none")


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: tuple[str, ...]  # pieces of JSON text


@dataclass(frozen=True, slots=True)
class SimAnswer:
    """Pieces of text, one token each, in the order they are sent."""

    reasoning: tuple[str, ...]
    content: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish: str

    @property
    def tokens(self) -> int:
        return len(self.reasoning) + len(self.content) + sum(len(call.arguments) for call in self.calls)


def thinks(body: dict[str, Any], dialect: Dialect) -> bool:
    """Whether this request switches thinking on, in this host's syntax; other hosts' fields have no effect."""
    for path in dialect.thinking.split("|"):
        value: Any = body
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value not in _OFF
    return dialect.thinking_default == "on"


def compose(body: dict[str, Any], thinking: bool) -> SimAnswer:
    """The answer to a well-formed chat request (`messages` is a list of objects)."""
    rng, text = Random(_seed(body)), _last_user_text(body)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or LONGEST
    limit = min(int(limit), LONGEST)
    calls = tuple(_call(rng, function, text) for function in _called(body))
    content = [] if calls else _content(rng, body, limit, thinking)
    reasoning = sentences(rng, max(8, int(len(content) * REASONING_SHARE))) if thinking else []
    finish = "length" if len(reasoning) + len(content) > limit else "tool_calls" if calls else "stop"
    reasoning = reasoning[:limit]
    return SimAnswer(tuple(reasoning), tuple(content[: limit - len(reasoning)]), calls, finish)


def _seed(body: dict[str, Any]) -> int:
    meaning = {key: value for key, value in body.items() if key not in NOT_CONTENT}
    return xxhash.xxh3_64_intdigest(orjson.dumps(meaning, option=orjson.OPT_SORT_KEYS))


def _content(rng: Random, body: dict[str, Any], limit: int, thinking: bool) -> list[str]:
    form = body.get("response_format") or {}
    text = _last_user_text(body)
    if form.get("type") == "json_schema":
        return pieces(_filled(form.get("json_schema", {}).get("schema", {}), text))
    if form.get("type") == "json_object":
        return pieces(orjson.dumps({"answer": "".join(sentences(rng, 12)), "confidence": 0.9}).decode())
    answer = stated_answer(text)
    return sentences(rng, _length(rng, body, limit, thinking)) if answer is None else pieces(answer)


def _length(rng: Random, body: dict[str, Any], limit: int, thinking: bool) -> int:
    """Tokens of prose: the number of words that the user requests, else what reasoning leaves of `max_tokens`, else
    random."""
    requested = _LENGTH_REQUEST.search(_last_user_text(body))
    if requested:
        return min(int(requested[1]), LONGEST)
    if limit < LONGEST:
        return int(limit / (1 + REASONING_SHARE)) if thinking and limit > 30 else limit
    return min(int(rng.lognormvariate(0, LENGTH_SIGMA) * TYPICAL_LENGTH) + 1, LONGEST // 2)


def _last_user_text(body: dict[str, Any]) -> str:
    last = body["messages"][-1] if body["messages"] else {}
    return content_text(last.get("content")) if last.get("role") == "user" else ""


def _called(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The functions to call: the required one, those that the last user message names, or the first if one is
    required."""
    choice = body.get("tool_choice", "auto")
    functions = [tool["function"] for tool in body.get("tools") or () if isinstance(tool.get("function"), dict)]
    if choice == "none" or not functions:
        return []
    if isinstance(choice, dict):
        required = choice.get("function", {}).get("name")
        return [function for function in functions if function.get("name") == required]
    text = _last_user_text(body)
    named = [function for function in functions if re.search(rf"\b{re.escape(function['name'])}\b", text)]
    return named or (functions[:1] if choice == "required" else [])


def _call(rng: Random, function: dict[str, Any], text: str) -> ToolCall:
    arguments = _filled(function.get("parameters") or {"type": "object"}, text)
    return ToolCall(f"call_00_{rng.getrandbits(96):024x}", function["name"], tuple(pieces(arguments)))


def _filled(schema: dict[str, Any], text: str) -> str:
    """JSON that fits the schema, with the values that the text states."""
    value = example(schema)
    return orjson.dumps({**value, **stated_values(text, schema)} if isinstance(value, dict) else value).decode()
