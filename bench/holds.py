"""How long one request body holds a worker's loop: `python -m bench.holds`.

    a body of 16 MiB, of the worst kinds ─> handler ─> a transport that answers at once          in this process

CPU time of the handler, the best of three runs, because other work on the machine only ever adds.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.parts import CLIENT, HEADERS, Subject
from gateway.document.bounded_json import MOST, SMALL
from gateway.server.direct_sink import DirectSink
from gateway.types.sink import Inbound

SIZE = 16 * 1024 * 1024 - 1024
RUNS = 3
WARM_UP = 300  # requests
START = b'{"model":"deepseek-v3.2","messages":[{"role":"user","content":"Hi"}]'
OPENAI, ANTHROPIC, RESPONSES = b"/v1/chat/completions", b"/v1/messages", b"/v1/responses"


def extra(value: bytes) -> bytes:
    """A good request with one more field."""
    return START + b',"extra":' + value + b"}"


def repeated(piece: bytes, size: int = SIZE) -> bytes:
    """A list of as many of these as fit."""
    return b"[" + (piece + b",") * (size // (len(piece) + 1) - 1) + piece + b"]"


def allowed(piece: bytes) -> bytes:
    """A list of as many as a body may hold."""
    marks = 1 + sum(piece.count(mark) for mark in (b",", b"[", b"{"))
    return repeated(piece, (len(piece) + 1) * (MOST - 4096) // marks)


def text(piece: bytes) -> bytes:
    """A request with one message, of this over and over."""
    return messages_of(b'{"role":"user","content":"' + piece * (SIZE // len(piece)) + b'"}')


def messages_of(inner: bytes) -> bytes:
    return b'{"model":"deepseek-v3.2","max_tokens":9,"messages":[' + inner + b"]}"


def messages(piece: bytes) -> bytes:
    return messages_of(repeated(piece)[1:-1])


def parts(piece: bytes) -> bytes:
    return messages_of(ASKED % repeated(piece))


def keys(size: int = SIZE) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(size // 12)) + b"}"


def items(piece: bytes) -> bytes:
    return b'{"model":"deepseek-v3.2","input":' + repeated(piece) + b"}"


PROSE = b"All work and no play makes Jack a dull boy. "
NEST = b"[" * 190 + b"]" * 190
ASKED = b'{"role":"user","content":%b}'
TOOL = b'{"type":"function","function":{"name":"f","parameters":{}}}'
MESSAGE = b'{"role":"user","content":"x"}'
FUNCTION = b'{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}'
CALL = b'{"role":"assistant","content":null,"tool_calls":[' + FUNCTION + b"]}"
PART = b'{"type":"text","text":"x"}'
RESULT = b'{"type":"tool_result","tool_use_id":"a","content":"x"}'
BODIES: dict[str, tuple[bytes, Callable[[], bytes]]] = {
    "one long text": (OPENAI, lambda: text(PROSE)),
    "one long text, messages": (ANTHROPIC, lambda: text(PROSE)),
    "a text of escapes": (OPENAI, lambda: text(b'\\"\\n')),
    "a text of backslashes": (OPENAI, lambda: text(b"\\\\")),
    "a text of \\u escapes": (OPENAI, lambda: text(b"\\u00e9")),
    "a text of emoji": (OPENAI, lambda: text("😀".encode())),
    "a text of commas": (OPENAI, lambda: text(b"1,2,[{")),
    "a text of code": (OPENAI, lambda: text(b'  if (a[i] == {\\"k\\": 1, \\"l\\": [2]}) {\\n')),
    "40,000 lists nested 190 deep": (OPENAI, lambda: extra(repeated(NEST, 40_000 * 381))),
    "empty lists": (OPENAI, lambda: extra(repeated(b"[]"))),
    "empty objects": (OPENAI, lambda: extra(repeated(b"{}"))),
    "numbers": (OPENAI, lambda: extra(repeated(b"1"))),
    "fractions": (OPENAI, lambda: extra(repeated(b"1.2345e-7"))),
    "empty strings": (OPENAI, lambda: extra(repeated(b'""'))),
    "a million keys": (OPENAI, lambda: extra(keys())),
    "top-level keys": (OPENAI, lambda: START + b"," + keys()[1:]),
    "one deep nest": (OPENAI, lambda: extra(b"[" * (SIZE // 2) + b"]" * (SIZE // 2))),
    "messages": (OPENAI, lambda: messages(MESSAGE)),
    "messages with tool calls": (OPENAI, lambda: messages(CALL)),
    "tools": (OPENAI, lambda: START + b',"tools":' + repeated(TOOL) + b"}"),
    "content parts": (OPENAI, lambda: parts(PART)),
    "messages, messages": (ANTHROPIC, lambda: messages(MESSAGE)),
    "content parts, messages": (ANTHROPIC, lambda: parts(PART)),
    "tool results, messages": (ANTHROPIC, lambda: parts(RESULT)),
    "items, responses": (RESPONSES, lambda: items(MESSAGE)),
    "lists, as many as are read": (OPENAI, lambda: extra(allowed(b"[]"))),
    "nested lists of a small body": (OPENAI, lambda: extra(repeated(NEST, SMALL - 200))),
    "messages, as many as are read": (OPENAI, lambda: messages_of(allowed(MESSAGE)[1:-1])),
    "tool results, as many as are read": (ANTHROPIC, lambda: messages_of(ASKED % allowed(RESULT))),
    "items, as many as are read": (RESPONSES, lambda: b'{"model":"deepseek-v3.2","input":' + allowed(MESSAGE) + b"}"),
    "empty lists, responses": (RESPONSES, lambda: extra(repeated(b"[]"))),
}


def held(subject: Subject, path: bytes, body: bytes) -> float:
    """Milliseconds that the handler took, from the whole body to the bytes for a host or to a refusal."""
    handler = subject.worker.live.current.hot[path]
    asked = dict(HEADERS)
    sink = DirectSink(CLIENT, handler, True, asked)
    started = time.thread_time()
    handler(Inbound(asked, body, time.monotonic()), sink)
    return (time.thread_time() - started) * 1e3


async def main() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        subject = Subject(Path(folder))
        for _ in range(WARM_UP):
            subject.ask()
        for name, (path, make) in BODIES.items():
            body = make()
            print(f"{name:34} {min(held(subject, path, body) for _ in range(RUNS)):8.1f} ms", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
