"""Hosts' answers: recorded streams and whole answers, mutated, through the reader of each kind of client.

Whatever comes, an attempt ends exactly once, nothing is raised, and a stream that ended well has its end.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import mender
from gateway.types import Fault
from gateway.upstream import sse
from gateway.upstream.assembling import AssemblingReader
from gateway.upstream.reader import Reader
from gateway.upstream.stream import StreamReader
from gateway.upstream.whole_reader import WholeReader
from tests.reliability.fuzzing.mutated import mutated_bytes, mutated_trees
from tests.reliability.fuzzing.target import Check, Target, as_json
from tests.support.host import completion, usage
from tests.upstream.listener import OK, Listener, cut
from tests.upstream.recordings import RECORDINGS

Input = tuple[bytes, list[int], int, bool, int]
OFFERED = {
    "tools": [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"]
}
STREAMS = [one.stream for one in RECORDINGS]
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
WHOLE: list[Any] = [
    completion("Hello", reasoning="Hm", used=usage(9, 2, 4, 1)),
    completion("")
    | {"choices": [{"index": 0, "message": {"content": None, "tool_calls": CALLS}, "finish_reason": "stop"}]},
    {"error": {"message": "busy", "code": 503}},
]
EVENTS: list[Any] = [
    json.loads(event[6:])
    for one in RECORDINGS
    for event in one.stream.replace(b"\r\n", b"\n").split(b"\n\n")
    if event.startswith(b"data: {")
]
KEYS: tuple[str, ...] = (
    "choices",
    "delta",
    "message",
    "content",
    "reasoning_content",
    "tool_calls",
    "function",
    "arguments",
    "index",
)
KEYS += (
    "usage",
    "prompt_tokens_details",
    "finish_reason",
    "error",
    "logprobs",
    "refusal",
    "id",
    "name",
    "object",
    "code",
)
WORDS = [b"data: ", b"data:", b"\n\n", b"\r\n\r\n", b"[DONE]", b": x\n\n", b"event: error\n", b"null", b"\xef\xbb\xbf"]
WORDS += [
    b'"finish_reason":"stop"',
    b'"error":{"message":1}',
    b"<tool_call>",
    b"\xff",
    b"\\ud800",
    b"{",
    b"}",
    b'"',
    b"[",
    b"]",
]

trees = mutated_trees(EVENTS, WHOLE, KEYS)
streams = st.lists(trees, max_size=6).map(lambda some: b"".join(b"data: " + as_json(one) + b"\n\n" for one in some))
bodies = st.one_of(
    mutated_bytes(STREAMS + [as_json(one) for one in WHOLE], WORDS),
    streams.map(lambda stream: stream + b"data: [DONE]\n\n"),
    mutated_trees(WHOLE, EVENTS, KEYS).map(as_json),
)
inputs = st.tuples(
    bodies,
    st.lists(st.integers(0, 1 << 16), max_size=6),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([200, 200, 200, 200, 400, 429, 500, 302]),
)


@contextmanager
def _open() -> Iterator[Check]:
    yield _check


def _check(given: Input) -> None:
    body, places, kind, lost, status = given
    listener = Listener()
    reader = _reader(kind, listener)
    reader.on_response(status, OK)
    for piece in cut(body, places):
        listener.fed += 1
        reader.on_data(piece)
    if lost:
        reader.on_lost(Fault.CUT, "the host closed the connection")
    else:
        reader.on_complete()
    assert listener.ended, "no end"
    assert reader.usage.prompt >= 0
    assert reader.usage.completion >= 0
    assert reader.deltas >= 0
    if listener.failure is None and isinstance(reader, StreamReader):
        out = listener.text + reader.tail({"total_tokens": 1}, include_usage=False)
        assert out.endswith(b"data: [DONE]\n\n")
        for payload in sse.payloads(out):
            assert payload["choices"], "a chunk without choices"
    elif listener.failure is None:
        assert isinstance(reader, WholeReader | AssemblingReader)
        assert reader.completion["choices"][0]["message"] is not None


def _reader(kind: int, listener: Listener) -> Reader:
    tools, calls = mender(OFFERED), ToolCallCheck()
    if kind < 2:
        return StreamReader(listener, 0.0, rewrite=kind == 1, mender=tools, calls=calls)
    made = WholeReader if kind == 2 else AssemblingReader
    return made(listener, 0.0, mender=tools, calls=calls)


HOSTS = Target("hosts", inputs, _open)
