"""The canaries: questions with one right answer, random each time, so that no cache and no memory has them.

    arithmetic     one sum of two numbers
    json           a record as JSON, by a JSON schema
    tool_call      one call of one of two functions, with these arguments
    thinking       reasoning where it is switched on, and none where it is switched off
    needle         a code in a prompt of 8,000 tokens
    context        the same in a prompt of nine tenths of the context that the endpoint claims

Every answer is short. The greedy fingerprint compares hosts with each other: `fingerprint.py`.
"""

import re
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

import orjson

from gateway.probe.canary_question import Canary, CanaryQuestion, Json, ProbeAnswer
from gateway.types import Endpoint
from gateway.types.endpoint import Capability

NEEDLE_TOKENS = 8_000
CLAIMED = 0.9  # of the claimed context
BYTES_PER_TOKEN = 4  # of the filler; a real tokenizer needs fewer tokens, never more
ROOM = 2_000  # tokens of the context that are left for the question and the answer
FILLER = (
    *("anchor", "basket", "candle", "desert", "engine", "forest", "garden", "harbor", "island", "jacket"),
    *("kitchen", "ladder", "market", "needle", "orange", "pepper", "quarter", "river", "silver", "table"),
    *("uncle", "valley", "window", "yellow", "bridge", "copper", "dinner", "flower", "ginger", "hammer"),
)
_NUMBER = re.compile(r"[0-9][0-9,]*")
_CITIES = ("Lisbon", "Oslo", "Quito", "Tunis", "Vienna", "Osaka")
_COLORS = ("red", "green", "blue")
_RECORD: Json = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "year": {"type": "integer"},
        "open": {"type": "boolean"},
        "color": {"type": "string", "enum": list(_COLORS)},
    },
    "required": ["city", "year", "open", "color"],
    "additionalProperties": False,
}


def _asked(text: str, max_tokens: int, **more: Any) -> Json:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": max_tokens, **more}


def arithmetic(rng: Random, _: Endpoint) -> CanaryQuestion:
    first, second = rng.randint(1_000, 9_999), rng.randint(1_000, 9_999)
    body = _asked(f"What is {first} + {second}? Reply with the number only.", 32)
    return CanaryQuestion(body, partial(_last_number, str(first + second)))


def _last_number(right: str, answer: ProbeAnswer) -> str | None:
    """Compared as text: a host may answer a number of any length."""
    numbers = _NUMBER.findall(answer.text)
    found = numbers[-1].replace(",", "").lstrip("0") if numbers else "no number"
    return None if found == right else f"{right} expected, answered {found[:20]}"


def record(rng: Random, endpoint: Endpoint) -> CanaryQuestion | None:
    if "json_schema" not in endpoint.supports:
        return None
    values = _values(rng)
    form = {"type": "json_schema", "json_schema": {"name": "record", "strict": True, "schema": _RECORD}}
    body = _asked(f"Write this record as JSON: {_spelt(values)}", 96, response_format=form)
    return CanaryQuestion(body, lambda answer: _same(values, answer.text))


def tool_call(rng: Random, endpoint: Endpoint) -> CanaryQuestion | None:
    if "tools" not in endpoint.supports:
        return None
    values = _values(rng)
    names = rng.sample(["save_visit", "plan_trip"], 2)
    tools = [{"type": "function", "function": {"name": name, "parameters": _RECORD}} for name in names]
    body = _asked(f"Call {names[1]} once, with exactly these arguments: {_spelt(values)}", 160, tools=tools)
    return CanaryQuestion(body, lambda answer: _one_call(names[1], values, answer.calls))


def _one_call(name: str, values: Mapping[str, Any], calls: tuple[tuple[str, str], ...]) -> str | None:
    if len(calls) != 1:
        return f"{len(calls)} calls instead of one"
    [(called, arguments)] = calls
    return f"{called[:40]} was called instead of {name}" if called != name else _same(values, arguments)


def _values(rng: Random) -> Json:
    return {
        "city": rng.choice(_CITIES),
        "year": rng.randint(1950, 2049),
        "open": rng.random() < 0.5,
        "color": rng.choice(_COLORS),
    }


def _spelt(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}={orjson.dumps(value).decode().strip(chr(34))}" for name, value in values.items())


def _same(values: Mapping[str, Any], text: str) -> str | None:
    """Exactly these keys and values: true is not 1, and 1950.0 is not 1950."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "not JSON"
    if not isinstance(found, dict):
        return "not a JSON object"
    right = {name for name in values.keys() & found.keys() if repr(values[name]) == repr(found[name])}
    wrong = sorted((values.keys() | found.keys()) - right)
    return f"wrong: {', '.join(wrong)[:80]}" if wrong else None


def thinking(rng: Random, endpoint: Endpoint) -> CanaryQuestion | None:
    if endpoint.dialect.thinking == "unknown":
        return None
    on = rng.random() < 0.5
    body = _asked("Name three primes between 20 and 50.", 64, reasoning={"enabled": on})
    return CanaryQuestion(body, partial(_switched, on))


def _switched(on: bool, answer: ProbeAnswer) -> str | None:
    if bool(answer.reasoning) == on:
        return None
    return "switched on, without reasoning" if on else "switched off, with reasoning"


def needle(rng: Random, endpoint: Endpoint) -> CanaryQuestion | None:
    if _room(endpoint) < NEEDLE_TOKENS:
        return None
    return _hidden(rng, NEEDLE_TOKENS)


def context(rng: Random, endpoint: Endpoint) -> CanaryQuestion:
    return _hidden(rng, int(CLAIMED * _room(endpoint)))


def _room(endpoint: Endpoint) -> int:
    return min(endpoint.context - ROOM, endpoint.max_input or endpoint.context)


def _hidden(rng: Random, tokens: int) -> CanaryQuestion:
    """A code in the middle of words that mean nothing."""
    code = str(rng.randint(100_000, 999_999))
    size, words = tokens * BYTES_PER_TOKEN, list[str]()
    words = rng.choices(FILLER, k=size // 7)  # a word has six letters on average, and a space
    words.insert(rng.randrange(len(words) // 10, len(words)), f"The access code is {code}.")
    text = f"{' '.join(words)}\n\nWhat is the access code? Reply with the code only."
    return CanaryQuestion(_asked(text, 32), partial(_contains, code))


def _contains(code: str, answer: ProbeAnswer) -> str | None:
    if answer.refused:
        return f"refused: {answer.refused[:80]}"
    return None if code in answer.text else "the code was not found"


TESTED: Mapping[Capability, str] = {"tools": "tool_call", "json_schema": "json"}  # what a right answer needs
CANARIES = (
    Canary("arithmetic", arithmetic),
    Canary("json", record),
    Canary("tool_call", tool_call, tools=True),
    Canary("thinking", thinking),
    Canary("needle", needle, every=6),
    Canary("context", context, every=168),
)
