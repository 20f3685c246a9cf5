"""A host whose model works as an agent's does: call after call, each when the last is answered, and then a word.

`bodies` has what it was asked, but for requests without tools: titles, summaries and the like get the word at once.
"""

import json
from collections.abc import Sequence
from typing import Any

from tests.support.host import Json, Out, Received, ScriptedHost, answers, chunks, completion, streams

SUBTASK = "SUBTASK"  # in the prompt of a subagent, which gets the word at once
THOUGHT = "Something is to be done."
DONE = "All of it is done."


class Agent(ScriptedHost):
    """`calls` are (name of a function, its arguments)."""

    def __init__(self, calls: Sequence[tuple[str, Json]]) -> None:
        super().__init__(self._answer)
        self._calls = calls

    @property
    def bodies(self) -> list[Json]:
        return [body for request in self.requests if self._is_its_own(body := request.json())]

    def _is_its_own(self, body: Json) -> bool:
        return bool(body.get("tools")) and SUBTASK not in json.dumps(body["messages"][:3])

    async def _answer(self, request: Received, out: Out) -> None:
        body = request.json()
        made = sum(message["role"] == "tool" for message in body["messages"])
        call = self._calls[made] if self._is_its_own(body) and made < len(self._calls) else None
        if body.get("stream"):
            await streams(chunks(DONE) if call is None else called(made, *call))(request, out)
        else:
            await answers(200, completion(DONE))(request, out)


def called(number: int, name: str, arguments: Json) -> list[Json]:
    said = json.dumps(arguments)
    events = chunks("", finish="tool_calls")
    thought = {"reasoning_content": THOUGHT}
    pieces: list[Json] = [
        {"index": 0, "id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": ""}},
        *({"index": 0, "function": {"arguments": part}} for part in (said[:5], said[5:])),
    ]
    deltas = [thought, *({"tool_calls": [piece]} for piece in pieces)]
    between = [{**events[0], "choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
    return [*events[:-2], *between, *events[-2:]]


def results(body: Json) -> list[Any]:
    """What the agent's tools answered, in their order."""
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]
