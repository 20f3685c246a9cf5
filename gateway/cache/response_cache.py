"""Stores answers to serve them again, whole or as a stream.

    stream chunks --assemble--> completion --save--> store --lookup--> completion --fresh--> served whole
                                                                              \\--fresh, replay--> served as a stream

Only whole answers are stored, so one entry serves both modes. `assemble` is strict, because a wrong answer in the cache
is served many times: chunks that do not certainly form one answer yield None, and nothing is stored.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.document.assembly import UNREADABLE, Assembly, copy_fields
from gateway.document.nesting import is_deeper
from gateway.state.store import Store
from gateway.types import PICO

VERSION = 1  # of the envelope; an entry of another version is a miss
CLEAN = frozenset({"stop", "tool_calls"})
MAX_BYTES = 1_000_000  # of the envelope
MAX_PIECES = 20  # of a replayed text
MIN_PIECE = 16  # characters
HEAD = ("id", "created", "model", "system_fingerprint", "provider")  # on every replayed chunk, where present

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole `chat.completion` as served, the endpoint that gave it, and when (unix time)."""

    completion: Json
    endpoint: str
    at: float


class ResponseCache:
    """Answers by key in the store. Any invalid entry is a miss."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lookup(self, key: bytes, then: Callable[[CachedAnswer | None], None]) -> None:
        """Calls `then` once, later, from the event loop, with the answer or None."""
        self._store.get(key, lambda value: then(None if value is None else _decode(value)))

    def save(self, key: bytes, answer: CachedAnswer, ttl: float) -> bool:
        """Stores an answer for `ttl` seconds; False when it is incomplete or larger than MAX_BYTES."""
        if not _is_clean(answer.completion):
            return False
        envelope = {"v": VERSION, "at": answer.at, "endpoint": answer.endpoint, "completion": answer.completion}
        value = orjson.dumps(envelope)
        if len(value) > MAX_BYTES:
            return False
        self._store.put(key, value, ttl)
        return True


def fresh(answer: CachedAnswer, new_id: str, created: int, *, counted: bool = True) -> Json:
    """A copy of the answer with a new id and time, and with every cost 0, as nothing was bought. Token counts stay, or,
    without `counted`, become 0 as well."""
    completion = {**answer.completion, "id": new_id, "created": created}
    completion.pop("openrouter_metadata", None)  # it described the first request
    usage = completion.get("usage")
    if usage is not None:
        completion["usage"] = free(usage, counted)
    return completion


def spent(completion: Json) -> int:
    """What the answer cost when it was made, in 1e-12 USD; 0 if it does not say."""
    cost = (completion.get("usage") or {}).get("cost")
    return round(cost * PICO) if isinstance(cost, int | float) else 0


def free(usage: Json, counted: bool) -> Json:
    """The usage of an answer that is given again: see `fresh`."""
    if not counted:
        return {name: _zero(part) for name, part in usage.items()}
    costs = {name: value for name, value in usage.items() if "cost" in name and value is not None}
    free = {name: dict.fromkeys(value, 0) if isinstance(value, dict) else 0 for name, value in costs.items()}
    return {**usage, **free, "cost": 0}


def _zero(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _zero(part) for name, part in value.items()}
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value


def assemble(events: Iterable[Json]) -> Json | None:
    """The whole completion that these chunks form; None for an error, a cut, or an unknown shape."""
    assembly = Assembly()
    try:
        for event in events:
            if event.get("error"):
                return None
            assembly.take(event)
        whole = assembly.completion()
        sound = all(map(_is_complete, whole["choices"])) and not is_deeper((whole,))
    except UNREADABLE:  # or, as the events are parsed lazily, not JSON
        return None
    return whole if whole["choices"] and sound else None


def replay(completion: Json, include_usage: bool) -> list[bytes]:
    """The completion as server-sent events, `[DONE]` included.

    Usage is sent with the last finish chunk, or with `include_usage` in a chunk of its own without choices.
    """
    head: Json = {"object": "chat.completion.chunk"}
    head |= {name: value for name in HEAD if (value := completion.get(name)) is not None}
    rest: Json = {}
    copy_fields(rest, completion, but=(*HEAD, "choices", "object", "usage"))
    chunks = [head | {"choices": [part]} for choice in completion["choices"] for part in _parts(choice)]
    chunks[-1] |= rest
    usage = completion.get("usage")
    if usage is not None and include_usage:
        chunks.append(head | {"choices": [], "usage": usage})
    elif usage is not None:
        chunks[-1]["usage"] = usage
    return [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def _decode(value: bytes) -> CachedAnswer | None:
    try:
        envelope = orjson.loads(value)
        if envelope["v"] != VERSION or not _is_clean(envelope["completion"]):
            return None
        return CachedAnswer(envelope["completion"], str(envelope["endpoint"]), float(envelope["at"]))
    except (ValueError, KeyError, TypeError):
        return None


def _is_clean(completion: Any) -> bool:
    """Whether this has the parts that `fresh` and `replay` read, and ended with a clean finish reason."""
    try:
        choices, usage = completion["choices"], completion.get("usage")
        return bool(choices) and (usage is None or isinstance(usage, dict)) and all(map(_is_clean_choice, choices))
    except (AttributeError, KeyError, TypeError):
        return False


def _is_clean_choice(choice: Any) -> bool:
    message, calls = choice["message"], choice["message"].get("tool_calls") or []
    return (
        choice["finish_reason"] in CLEAN
        and isinstance(choice["index"], int)
        and isinstance(message.get("content"), str | None)
        and all(isinstance(call["function"][part], str) for call in calls for part in ("name", "arguments"))
    )


def _is_complete(choice: Json) -> bool:
    calls = choice["message"].get("tool_calls", ())
    return choice["finish_reason"] is not None and all(call["id"] and call["function"]["name"] for call in calls)


# -- from a completion to chunks


def _parts(choice: Json) -> list[Json]:
    """One choice as the choices of its chunks: role, other fields, text in pieces, tool calls, end.

    In OpenRouter's shape (recognised by `native_finish_reason`) each of them repeats role and content.
    """
    index, message = choice["index"], choice["message"]
    content = message.get("content")
    other: Json = {}
    copy_fields(other, message, but=("role", "content", "tool_calls"))
    first: Json = {"role": message.get("role", "assistant"), "content": None if content is None else ""}
    each, unended = (first, {"native_finish_reason": None}) if "native_finish_reason" in choice else ({}, {})
    deltas = [first]
    deltas += [other] if other else []
    deltas += [{"content": piece} for piece in _pieces(content or "")]
    for number, call in enumerate(message.get("tool_calls") or ()):
        deltas += _call_deltas(number, call)
    end: Json = {"index": index, "delta": each}
    copy_fields(end, choice, but=("index", "message"))
    parts = [{"index": index, "delta": {**each, **delta}, "finish_reason": None, **unended} for delta in deltas]
    return [*parts, end]


def _pieces(text: str) -> list[str]:
    size = max(MIN_PIECE, -(-len(text) // MAX_PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _call_deltas(index: int, call: Json) -> list[Json]:
    function = call["function"]
    first = {**call, "index": index, "type": "function", "function": {"name": function["name"], "arguments": ""}}
    return [
        {"tool_calls": [first]},
        {"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]},
    ]
