"""Amazon's binary event stream, as Bedrock's Converse sends it: frames with two checksums, and what they say."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

from tests.support.host import Json, Out, Received, Script

CONTENT_TYPE = {"content-type": "application/vnd.amazon.eventstream"}
_TEXT = b"\x07"  # the type of a header's value


def frame(kind: str, payload: Json, *, exception: bool = False) -> bytes:
    """One event, or the exception that ends a stream."""
    name = ":exception-type" if exception else ":event-type"
    fields = {":message-type": "exception" if exception else "event", name: kind, ":content-type": "application/json"}
    headers = b"".join(map(_header, fields, fields.values()))
    body = json.dumps(payload).encode()
    sizes = _number(16 + len(headers) + len(body)) + _number(len(headers))
    start = sizes + _number(zlib.crc32(sizes)) + headers + body
    return start + _number(zlib.crc32(start))


def text(*pieces: str, stop: str | None = "end_turn", used: Json | None = None) -> list[bytes]:
    """An answer in words."""
    said = [_delta({"text": piece}) for piece in pieces]
    return [frame("messageStart", {"role": "assistant"}), *said, _block_stop(), *_end(stop, used)]


def tool(name: str, *arguments: str) -> list[bytes]:
    """A tool call."""
    start = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t1", "name": name}}}
    said = [_delta({"toolUse": {"input": piece}}) for piece in arguments]
    opened = [frame("messageStart", {"role": "assistant"}), frame("contentBlockStart", start)]
    return [*opened, *said, _block_stop(), *_end("tool_use", None)]


def whole(content: list[Json], stop: str = "end_turn") -> Json:
    """An answer that is not streamed."""
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": usage()}


def usage(prompt: int = 10, completion: int = 5, cached: int = 0) -> Json:
    total = {"totalTokens": prompt + completion + cached}
    return {"inputTokens": prompt, "outputTokens": completion, "cacheReadInputTokens": cached} | total


def sends(frames: Sequence[bytes]) -> Script:
    """Stream frames, each in its own chunk."""

    async def script(_: Received, out: Out) -> None:
        await out.head(200, CONTENT_TYPE)
        for one in frames:
            await out.send(one)
        await out.end()

    return script


def _end(stop: str | None, used: Json | None) -> list[bytes]:
    ended = [frame("messageStop", {"stopReason": stop})] if stop else []
    return [*ended, frame("metadata", {"usage": used or usage(), "metrics": {"latencyMs": 5}})]


def _delta(delta: dict[str, Any]) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})


def _block_stop() -> bytes:
    return frame("contentBlockStop", {"contentBlockIndex": 0})


def _header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + _TEXT + len(value).to_bytes(2, "big") + value.encode()


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")
