"""A host whose model thinks and asks for the weather of each city, one call a turn, before it answers.

What the last user message says decides the rest: "Fail with 503" fails so, and "Break off" ends in the middle.
"""

import json
import re
from typing import Any

from tests.support.host import MODEL, Json, Out, Received, ScriptedHost, answers, chunks, completion, streams, usage

CITIES = ("Paris", "Rome")
ANSWER = "Paris is sunny and so is Rome"
WHOLE = "Hello from the whole answer"
USED = usage(prompt=120, completion=40, cached=100, reasoning=16)
WHOLE_USED = usage(prompt=9, completion=5)
_FAIL = re.compile(r"Fail with (\d{3})")


def thought(city: str) -> str:
    return f"The weather in {city} is due"


class Weather(ScriptedHost):
    """`requests` has what each client really sent."""

    def __init__(self) -> None:
        super().__init__(self._answer)

    async def _answer(self, request: Received, out: Out) -> None:
        body = request.json()
        wish = _text(next(one for one in reversed(body["messages"]) if one["role"] == "user"))
        if found := _FAIL.search(wish):
            error = {"message": f"told to fail with {found[1]}", "code": int(found[1])}
            later = {"retry-after": "1"} if found[1] == "429" else {}
            await answers(int(found[1]), {"error": error}, later)(request, out)
        elif "Break off" in wish:
            await streams(chunks("a few words and then nothing")[:4], done=False)(request, out)
        elif not body.get("stream"):
            await answers(200, completion(WHOLE, used=WHOLE_USED))(request, out)
        elif not body.get("tools"):  # the gateway asks for a long answer as a stream, and gives it whole
            await streams(chunks(WHOLE, used=WHOLE_USED))(request, out)
        else:
            await streams(_turn(body))(request, out)


def _turn(body: Json) -> list[Json]:
    done = sum(message["role"] == "tool" for message in body["messages"])
    thinks = bool(body.get("chat_template_kwargs", {}).get("thinking"))
    if done >= len(CITIES):
        return chunks(ANSWER, used=USED)
    city = CITIES[done]
    told = [{"reasoning_content": piece} for piece in re.findall(r"\w+ ?", thought(city))] if thinks else []
    ends = chunks("", finish="tool_calls", used=USED)[-2:]
    return [*map(_chunk, [{"role": "assistant", "content": ""}, *told, *_call(city)]), *ends]


def _call(city: str) -> list[Json]:
    """The pieces of a call, as hosts send them: who is called, then the arguments bit by bit."""
    arguments = json.dumps({"city": city})
    named = {"id": f"call_{city}", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    pieces = [named, *({"function": {"arguments": part}} for part in (arguments[:6], arguments[6:]))]
    return [{"tool_calls": [{"index": 0, **piece}]} for piece in pieces]


def _chunk(delta: Json) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    head = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": MODEL}
    return {**head, "choices": [choice]}


def _text(message: Json) -> str:
    content: Any = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
