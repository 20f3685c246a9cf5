"""Answers as hosts send them, and what the gateway makes of them for a client that thinks and has tools.

`<endpoint>.<case>.sse` is a stream, `<endpoint>.<case>.json` a whole answer; the endpoint's `/` is a `-`. They are
written by hand after recordings and reports; only what they come to is generated: `.told.json` for a client of `/v1`,
`.openrouter.json` for one of `/api/v1`.
"""

import json
import re
from pathlib import Path
from typing import Any

from msgspec import structs

from gateway.repair.tool_call_repair import ToolCallRepair, mender
from gateway.surface.answer import shape_of
from gateway.types import Endpoint, Request, Surface
from gateway.upstream import sse
from gateway.upstream.dialects import relays
from gateway.upstream.stream import StreamReader
from gateway.upstream.whole_reader import WholeReader
from tests.upstream.golden.requests import INPUTS, asked, hosts
from tests.upstream.listener import Listener, feed

FOLDER = Path(__file__).parent / "answers"
ENDINGS: dict[Surface, str] = {"openai": "told", "openrouter": "openrouter"}
_NEW_ID = re.compile(r'"call_[0-9a-f]{24}"')  # the gateway's own


def cases() -> tuple[Path, ...]:
    made = tuple(f".{ending}.json" for ending in ENDINGS.values())
    found = (*FOLDER.glob("*.sse"), *(one for one in FOLDER.glob("*.json") if not one.name.endswith(made)))
    return tuple(sorted(found))


def told(case: Path, surface: Surface = "openai", pieces: list[bytes] | None = None) -> str:
    """What the answer comes to; `pieces` are its bytes as they arrive, by default all at once."""
    pieces = [case.read_bytes()] if pieces is None else pieces
    request = structs.replace(asked("thinking"), surface=surface)
    result = _streamed(_host(case), request, pieces) if case.suffix == ".sse" else _whole(_host(case), request, pieces)
    return _NEW_ID.sub('"call_NEW"', json.dumps(result, indent=1, ensure_ascii=False)) + "\n"


def file(case: Path, surface: Surface = "openai") -> Path:
    return case.with_suffix(f".{ENDINGS[surface]}.json")


def _host(case: Path) -> Endpoint:
    name = case.name.split(".")[0]
    return next(one for one in hosts() if one.id.replace("/", "-") == name)


def _streamed(host: Endpoint, request: Request, pieces: list[bytes]) -> dict[str, Any]:
    listener = Listener()
    shape, mends = shape_of(request, host, 0.0), mender(INPUTS["tools"])
    assert mends is not None
    reader = StreamReader(listener, 0.0, rewrite=not relays(host, request), shape=shape, mender=mends)
    feed(reader, listener, pieces)
    separate = request.surface == "openrouter"
    ended = reader.tail(shape.usage(reader.usage, 0), separate) if listener.failure is None else b""
    text = listener.text
    return {
        "first_token": listener.first_after is not None,
        **_end(listener, reader, mends),
        "events": list(sse.payloads(text)),
        "tail": list(sse.payloads(ended)),
    }


def _whole(host: Endpoint, request: Request, pieces: list[bytes]) -> dict[str, Any]:
    listener = Listener()
    shape, mends = shape_of(request, host, 0.0), mender(INPUTS["tools"])
    assert mends is not None
    reader = WholeReader(listener, 0.0, shape, mender=mends)
    feed(reader, listener, pieces)
    answer = shape.completion(reader.completion, shape.usage(reader.usage, 0)) if listener.failure is None else None
    return {**_end(listener, reader, mends), "answer": answer}


def _end(listener: Listener, reader: StreamReader | WholeReader, mends: ToolCallRepair) -> dict[str, Any]:
    failure, repairs = listener.failure, mends.repairs
    mended = {name: count for name in repairs.__struct_fields__ if (count := getattr(repairs, name))}
    if failure is None:
        return {"finish_reason": reader.finish_reason, "repairs": mended}
    return {"fault": failure.fault, "message": failure.message, "code": failure.code}
