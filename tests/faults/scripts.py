"""What broken hosts send: scripts for `ScriptedHost`, each for what it was asked, a stream or a whole answer."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.support.host import Json, Out, Received, Script, answers, chunks, completion, streams, usage

ANSWER = "one two three four five six seven eight nine ten"
USED = usage(10, 10)
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "one"}'}}
EVENTS = chunks(ANSWER, used=USED)
WHOLE = completion(ANSWER, used=USED)
STREAM = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
FOR_EVER = 30.0  # seconds: longer than any client of the table waits
HALF = 6  # events of a stream until it breaks: the role and five words


def by_form(streamed: Script, whole: Script) -> Script:
    """One script for streams, another for whole answers: what the gateway asked for decides."""

    async def script(request: Received, out: Out) -> None:
        await (streamed if request.json().get("stream") else whole)(request, out)

    return script


def first(script: Script, then: Script) -> Script:
    """The first request meets `script`, all others `then`. Made anew for each host."""
    left = [script]

    async def choose(request: Received, out: Out) -> None:
        await (left.pop() if left else then)(request, out)

    return choose


async def good(request: Received, out: Out) -> None:
    """A whole answer; a tool call where tools are offered, the rest of an answer that is begun."""
    asked = request.json()
    if asked["messages"][-1]["role"] == "assistant":
        rest = ANSWER.removeprefix(asked["messages"][-1]["content"])
        await streams([EVENTS[0], *([said(rest)] if rest else []), *EVENTS[-2:]])(request, out)
    elif asked.get("tools"):
        await by_form(streams(called(CALL | {"index": 0})), answers(200, calling(CALL)))(request, out)
    else:
        await by_form(streams(EVENTS), answers(200, WHOLE))(request, out)


# ---- before the first token


async def resets(_: Received, out: Out) -> None:
    out.reset()


async def closes(_: Received, out: Out) -> None:
    out.cut()


async def is_silent(_: Received, out: Out) -> None:
    await out.stall()


async def sends_only_a_head(request: Received, out: Out) -> None:
    await out.head(200, STREAM if request.json().get("stream") else JSON)
    await out.stall()


def waits(seconds: float, then: Script, head: bool = False) -> Script:
    """Does nothing for a while; with `head`, after a stream's head."""

    async def script(request: Received, out: Out) -> None:
        if head and request.json().get("stream"):
            await out.head(200, STREAM)
            await asyncio.sleep(seconds)
            await _pieces(out, [event(one) for one in [*EVENTS, "[DONE]"]])
            await out.end()
            return
        await asyncio.sleep(seconds)
        await then(request, out)

    return script


def refuses(status: int, message: str, retry_after: str = "", **fields: str) -> Script:
    """An error status with a body as OpenAI writes it."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}
    return answers(status, body, {"retry-after": retry_after} if retry_after else {})


def refuses_without_end(status: int) -> Script:
    async def script(_: Received, out: Out) -> None:
        await out.head(status, {**JSON, "content-length": "1000"}, chunked=False)
        await out.send(b'{"error": {"message": "try ag')
        await out.stall()

    return script


def raw(data: bytes) -> Script:
    """These bytes in place of an HTTP response, then nothing more."""

    async def script(_: Received, out: Out) -> None:
        await out.raw(data)
        out.cut()

    return script


def body(data: bytes, content_type: str) -> Script:
    """A 200 with this body."""
    return answers(200, data, {"content-type": content_type})


# ---- streams


def sends(*parts: Any, then: Callable[[Out], Awaitable[None]] | None = None) -> Script:
    """A stream of events: JSON or text as `data:`, bytes as they are. It ends well, or as `then` says."""

    async def script(_: Received, out: Out) -> None:
        await out.head(200, STREAM)
        await _pieces(out, [part if isinstance(part, bytes) else event(part) for part in parts])
        await (then or Out.end)(out)

    return script


def half(*more: Any, then: Callable[[Out], Awaitable[None]] | None = None) -> Script:
    """Half an answer, then these events, then the end that `then` makes."""
    return sends(*EVENTS[:HALF], *more, then=then)


def half_a_call(then: Callable[[Out], Awaitable[None]]) -> Script:
    """A tool call whose arguments break off."""
    begun = CALL | {"index": 0, "function": {"name": "look_up", "arguments": '{"wo'}}
    return sends(EVENTS[0], changed(EVENTS[1], delta={"tool_calls": [begun]}), then=then)


def with_third(*events: Any) -> Script:
    """A good stream with these events in place of the third."""
    return sends(*EVENTS[:2], *events, *EVENTS[3:], "[DONE]")


def texts(*pieces: Any) -> Script:
    """A good stream whose text comes in these pieces."""
    return sends(EVENTS[0], *map(said, pieces), *EVENTS[-2:], "[DONE]")


def calls(*pieces: Json) -> Script:
    """A good stream that calls a tool in these pieces, each in an event of its own."""
    return sends(*called(*pieces), "[DONE]")


def finishing(reason: str, cut: int | None = -2) -> tuple[Script, Script]:
    """An answer with this finish reason, as a stream of its first `cut` events and as a whole."""
    return sends(*EVENTS[:cut], finished(EVENTS[-2], reason), EVENTS[-1], "[DONE]"), answers(
        200, finished(WHOLE, reason)
    )


def for_ever(piece: bytes, every: float = 0.2) -> Callable[[Out], Awaitable[None]]:
    """The same piece again and again, until the client leaves."""

    async def repeat(out: Out) -> None:
        deadline = asyncio.get_running_loop().time() + FOR_EVER
        while asyncio.get_running_loop().time() < deadline:
            await out.send(piece)
            await asyncio.sleep(every)

    return repeat


async def cut(out: Out) -> None:
    await asyncio.sleep(0.1)  # so that what was sent is read before
    out.cut()


async def reset(out: Out) -> None:
    await asyncio.sleep(0.1)
    with suppress(OSError):  # the gateway was quicker
        out.reset()


async def stall(out: Out) -> None:
    await out.stall()


async def breaks_chunking(out: Out) -> None:
    await asyncio.sleep(0.1)
    await out.raw(b"zz\r\nno chunk\r\n")
    await out.stall()


def whole_then(share: float, then: Callable[[Out], Awaitable[None]]) -> Script:
    """The first part of a whole answer's bytes, then the end that `then` makes."""
    data = json.dumps(WHOLE).encode()

    async def script(_: Received, out: Out) -> None:
        await out.head(200, {**JSON, "content-length": str(len(data))}, chunked=False)
        await out.send(data[: int(len(data) * share)])
        await then(out)

    return script


def compressed(data: bytes, headers: Mapping[str, str]) -> Script:
    return answers(200, gzip.compress(data), {**headers, "content-encoding": "gzip"})


def text_of(events: Sequence[Any]) -> bytes:
    """A whole stream as bytes."""
    return b"".join(event(one) for one in [*events, "[DONE]"])


# ---- shapes


def changed(event: Json, **fields: Any) -> Json:
    """An event, or a whole answer, with other fields in its one choice."""
    return event | {"choices": [{**event["choices"][0], **fields}]}


def finished(event: Json, reason: str | None) -> Json:
    return changed(event, finish_reason=reason)


def said(content: Any) -> Json:
    """An event with this text."""
    return changed(EVENTS[1], delta={"content": content})


def answered(**message: Any) -> Json:
    """A whole answer with other fields in its message."""
    return changed(WHOLE, message=WHOLE["choices"][0]["message"] | message)


def called(*pieces: Json) -> list[Json]:
    """The events of a stream that calls a tool."""
    deltas = [changed(EVENTS[1], delta={"tool_calls": [piece]}) for piece in pieces]
    return [EVENTS[0], *deltas, finished(EVENTS[-2], "tool_calls"), EVENTS[-1]]


def calling(call: Json) -> Json:
    """A whole answer that calls a tool."""
    return finished(changed(WHOLE, message={"role": "assistant", "content": None, "tool_calls": [call]}), "tool_calls")


def event(one: Any) -> bytes:
    text = one if isinstance(one, str) else json.dumps(one)
    return f"data: {text}\n\n".encode()


async def _pieces(out: Out, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        await out.send(piece)
        await asyncio.sleep(0)
