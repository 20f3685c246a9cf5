"""Stores reasoning that clients do not send back, so that the model can read it again.

    answer with reasoning ──────keep──> store: (tenant, model, message) -> the text; an hour from its last use
    request without it ──gaps──> restore: one round trip ──> the request with the text put back

Which messages the model reads with their reasoning depends on the model (`types.read_again`): DeepSeek-V3.2 those
between a tool call and the next user message, V4 with tools all of them. Many clients never send reasoning back; a
strict host then rejects the request, others answer worse. Nothing here fails a request: if the store is down, slow or
empty, the request stays as it came. Requests without gaps do not use the store.

OpenAI's streaming helper for Node keeps only the last piece of a field that it does not know, and sends that back. So a
few characters may be the end of a longer text: they are replaced by a stored text that ends with them.

A call is identified by its id, function and arguments, as some hosts count ids from 0 in every answer. An answer
without calls is identified by its text and the message before it. The hash of a prompt's prefix is computed from the
client's own messages, which are the same in every turn and on every replica.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
import orjson

from gateway.state.store import Store
from gateway.types import REASONING_FIELDS, Request, read_again, reasoning_text

PREFIX = b"gw:think:"
TTL = 3_600.0  # seconds after the last write or read
LARGEST = 256 * 1024  # bytes of one text; a longer one is not stored
MOST = 512  # messages of a request that are looked up, counted from the last
SCRAP = 64  # characters: a shorter text may be the last piece of a stream
Json = dict[str, Any]


class Gap(NamedTuple):
    """A message without its reasoning: its index, the key of the stored text, and the end of the text that it has, if
    any."""

    place: int
    key: bytes
    end: bytes


def gaps(request: Request) -> list[Gap]:
    """Messages that the model reads with reasoning, and that came back without it; the last ones first."""
    found: list[Gap] = []
    if not request.thinking:
        return found
    messages = request.body["messages"]
    for place in reversed(read_again(request.body, request.reasoning_history)):
        message = messages[place]
        end = _end(message)
        key = None if end is None else _key(request, message, messages[place - 1] if place else None)
        if end is not None and key is not None:
            found.append(Gap(place, key, end))
        if len(found) == MOST:
            break
    return found


class ReasoningVault:
    """Reasoning texts by tenant and tool call, in a store that replicas share."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, request: Request, completion: Json, hidden: Mapping[int, str]) -> None:
        """Stores the reasoning of an answer (a whole `chat.completion`) that the model may read again; asynchronous.

        `hidden` is the reasoning that was hidden from the client, by choice index.
        """
        for choice in completion["choices"]:
            message = choice.get("message") or {}
            text = hidden.get(choice.get("index", 0)) or reasoning_text(message) or ""
            value = text.encode()
            key = _key(request, message, request.body["messages"][-1]) if 0 < len(value) <= LARGEST else None
            if key is not None:
                self._store.put(key, value, TTL)

    def restore(self, request: Request, missing: Sequence[Gap], then: Callable[[Request], None]) -> None:
        """Calls `then` once, later, from the event loop, with the request, its gaps filled as far as texts were
        found."""
        texts: list[tuple[int, bytes]] = []
        open_gaps = len(missing)

        def answered(gap: Gap, value: bytes | None) -> None:
            nonlocal open_gaps
            open_gaps -= 1
            if value is not None and value != gap.end and value.endswith(gap.end):
                texts.append((gap.place, value))
            if not open_gaps:
                then(_restored(request, texts) if texts else request)

        for gap in missing:
            self._store.get(gap.key, lambda value, gap=gap: answered(gap, value), TTL)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"<ReasoningVault in {self._store!r}>"


def _end(message: Json) -> bytes | None:
    """The reasoning of a message, if that may be only the end of it; None where it is complete."""
    texts = [message[name] for name in REASONING_FIELDS if message.get(name)]
    if not texts:
        return b""
    return texts[0].encode(errors="replace") if isinstance(texts[0], str) and len(texts[0]) < SCRAP else None


def _restored(request: Request, texts: list[tuple[int, bytes]]) -> Request:
    """The request with these texts in its messages, and its size adjusted."""
    messages = list(request.body["messages"])
    for place, text in texts:
        kept = {name: value for name, value in messages[place].items() if name not in REASONING_FIELDS}
        messages[place] = {**kept, "reasoning_content": text.decode(errors="replace")}
    size = request.prompt_size + sum(len(text) for _, text in texts)
    tokens = round(request.prompt_tokens * size / request.prompt_size)
    body = {**request.body, "messages": messages}
    return msgspec.structs.replace(request, body=body, raw=b"", prompt_size=size, prompt_tokens=tokens)


def _key(request: Request, message: Json, before: Json | None) -> bytes | None:
    """The key of a message's reasoning; None where nothing identifies it. `before` is the message that it answers."""
    identity = _call(message) if message.get("tool_calls") else _text(request, message, before)
    if identity is None:
        return None
    return PREFIX + sha256(orjson.dumps([request.tenant, request.model, *identity])).hexdigest().encode()


def _call(message: Json) -> list[object] | None:
    """What identifies the first of a message's calls; None where that is not a valid call."""
    calls = message["tool_calls"]
    call = calls[0] if isinstance(calls, list) and calls else None
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        return None
    return [call.get("id"), function.get("name"), _arguments(function.get("arguments"))]


def _text(request: Request, message: Json, before: Json | None) -> list[object] | None:
    """What identifies an answer without calls. Only for models that read those again too."""
    text = message.get("content")
    if request.reasoning_history != "preserved" or not isinstance(text, str) or before is None:
        return None
    return [text.strip(), before["role"], before.get("tool_call_id"), before.get("content")]


def _arguments(text: object) -> object:
    """Arguments in a canonical form: clients may serialise them differently."""
    if not isinstance(text, str):
        return text
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # invalid JSON, or too deep to be serialised again
        return text
