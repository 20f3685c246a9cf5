"""A client that measures: one chat request, and what came of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.scripts import ANSWER

PATIENCE = 15.0  # seconds until the client of the table gives up
QUESTION = "count to ten"
NO_JSON, NO_CHOICES, NO_OBJECT = "no JSON", "no choices", "null in place of an object"
UNFIT = (NO_JSON, NO_CHOICES, NO_OBJECT)  # events that plain clients die of
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


@dataclass
class Got:
    """What a client got. `end` is `done`, `error`, `cut`, or `nothing` where it gave up; `error` names the error."""

    status: int = 0
    end: str = "nothing"
    error: str = ""
    text: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)  # by index: name, arguments, id
    tokens: int = 0  # events with text
    seconds: float = 0.0

    def whole(self, text: str, tools: bool) -> bool:
        """Whether this is the right answer, whichever host gave it."""
        if self.end != "done":
            return False
        if not tools:
            return self.text in (text, ANSWER)
        if -1 in self.calls:  # a call without an index
            return False
        calls = [(name, _object(arguments), bool(id_)) for name, arguments, id_ in self.calls.values()]
        return calls == [("look_up", {"word": "one"}, True)]


async def ask(client: httpx.AsyncClient, model: str, stream: bool, tools: bool = False) -> Got:
    """One request of one user; never raises for what the gateway does."""
    body: dict[str, Any] = {"model": model, "stream": stream, "messages": [{"role": "user", "content": QUESTION}]}
    body |= {"tools": TOOLS} if tools else {}
    got = Got()
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            await _read(client, body, got)
    except TimeoutError:
        pass
    except httpx.HTTPError as error:
        got.end, got.error = "cut", type(error).__name__
    got.seconds = time.perf_counter() - began
    return got


async def _read(client: httpx.AsyncClient, body: dict[str, Any], got: Got) -> None:
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        got.status = response.status_code
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            await _events(response.aiter_lines(), got)
        else:
            _take(json.loads(await response.aread(), parse_constant=_no_number), "message", got)


async def _events(lines: AsyncIterator[str], got: Got) -> None:
    """A stream is read as the plainest client does it: an event that such a client dies of ends it."""
    got.end = "cut"
    async for line in lines:
        if line == "data: [DONE]":
            got.end = "done"
        elif line.startswith("data:"):
            try:
                _take(json.loads(line[5:], parse_constant=_no_number), "delta", got)
            except ValueError:
                got.end, got.error = "error", NO_JSON
        if got.end in ("done", "error"):
            return
    got.end = "cut"


def _take(said: Any, part: str, got: Got) -> None:
    """One event, or a whole answer. After an event the end is open, where it is no error."""
    got.end = "nothing" if part == "delta" else "done"
    choices = said.get("choices")
    if error := said.get("error"):
        got.end, got.error = "error", str(error.get("code") or error.get("type"))
    elif not choices:
        got.end, got.error = "error", NO_CHOICES
    elif not isinstance(message := choices[0].get(part), dict):
        got.end, got.error = "error", NO_OBJECT
    else:
        _message(message, part == "message", got)


def _message(message: dict[str, Any], whole: bool, got: Got) -> None:
    content = message.get("content")
    got.text += content if isinstance(content, str) else "" if content is None else repr(content)
    got.tokens += bool(content)
    for place, call in enumerate(message.get("tool_calls") or ()):
        _call(call, got.calls.setdefault(place if whole else call.get("index", -1), ["", "", ""]))


def _call(call: dict[str, Any], kept: list[str]) -> None:
    function = call.get("function", {})
    kept[0] += function.get("name") or ""
    arguments = function.get("arguments") or ""
    kept[1] += arguments if isinstance(arguments, str) else repr(arguments)
    kept[2] = call.get("id") or kept[2]


def _no_number(name: str) -> None:
    """What Python's reader lets pass and the JSON of others does not."""
    raise ValueError(f"{name} is no JSON")


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return None
