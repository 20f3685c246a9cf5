"""The ASGI sink: what a server is sent, when the source is held back, and who hears that a client has left."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message

from gateway.server.admission import Admission
from gateway.server.asgi import HIGH_WATER, AsgiEndpoint, AsgiSink
from gateway.server.connections import Connections
from gateway.server.host_check import Authority
from gateway.server.request_gate import RequestGate
from gateway.types.sink import Inbound, Sink

HEADERS = [(b"content-type", b"text/plain")]


def a_gate(max_body: int = 100, most_requests: int = 100, knows: bool = True) -> RequestGate:
    return RequestGate(
        authority=Authority("127.0.0.1", (), (), has_keys=True),
        identify=lambda _: b"" if knows else None,
        load=Admission(most_requests, 1 << 20, lambda _: None),
        connections=Connections(100, lambda: 0.0),
        max_body=max_body,
        hosts=None,
    )


class Source:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def pause(self) -> None:
        self.heard.append("pause")

    def resume(self) -> None:
        self.heard.append("resume")

    def gone(self) -> None:
        self.heard.append("gone")


class Server:
    """One request, from a server's side. `taking` is cleared to keep the app waiting."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self.taking = asyncio.Event()
        self.taking.set()

    async def receive(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.taking.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def call(self, handler: Callable[[Inbound, Sink], None], max_body: int = 100) -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "path": "/v1/chat/completions",
            "headers": [(b"a", b"1"), (b"a", b"2")],
        }
        async with asyncio.timeout(60):
            await AsgiEndpoint(handler, a_gate(max_body))(scope, self.receive, self.send)


def asked(*parts: bytes) -> list[Message]:
    """The messages of a request with this body."""
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts)} for number, part in enumerate(parts, 1)
    ]


async def test_a_request_is_read_to_its_end() -> None:
    heard: list[Inbound] = []

    def handler(inbound: Inbound, sink: Sink) -> None:
        heard.append(inbound)
        sink.start(204, HEADERS)
        sink.end()

    server = Server(*asked(b"ab", b"", b"c"))
    await server.call(handler)
    assert heard[0].body == b"abc"
    assert heard[0].headers == {b"a": b"2"}
    assert server.sent[0] == {"type": "http.response.start", "status": 204, "headers": HEADERS}
    assert server.sent[-1]["more_body"] is False


async def test_writes_while_the_server_is_busy_are_joined() -> None:
    sinks: list[Sink] = []

    def handler(_: Inbound, sink: Sink) -> None:
        sinks.append(sink)
        sink.start(200, HEADERS)
        sink.write(b"a")

    server = Server(*asked(b""))
    call = asyncio.create_task(server.call(handler))
    while not server.body:
        await asyncio.sleep(0)
    server.taking.clear()
    for piece in (b"b", b"c", b"d"):
        sinks[0].write(piece)
        await asyncio.sleep(0)
    sinks[0].end()
    server.taking.set()
    await call
    assert server.body == b"abcd"
    assert len(server.sent) <= 4


async def test_a_source_is_held_back_while_too_much_waits() -> None:
    source, sinks = Source(), list[Sink]()

    def handler(_: Inbound, sink: Sink) -> None:
        sinks.append(sink)
        sink.start(200, HEADERS)
        sink.attach(source)

    server = Server(*asked(b""))
    server.taking.clear()
    call = asyncio.create_task(server.call(handler))
    while not sinks:
        await asyncio.sleep(0)
    sinks[0].write(b"x" * HIGH_WATER)
    assert source.heard == []
    sinks[0].write(b"x")
    assert source.heard == ["pause"]
    server.taking.set()
    while len(server.body) <= HIGH_WATER:
        await asyncio.sleep(0)
    assert source.heard == ["pause", "resume"]
    sinks[0].end()
    await call


@pytest.mark.parametrize("busy", [True, False])
async def test_an_abort_returns_in_the_middle_of_the_answer(busy: bool) -> None:
    source, sinks = Source(), list[Sink]()

    def handler(_: Inbound, sink: Sink) -> None:
        sinks.append(sink)
        sink.start(200, HEADERS)
        sink.attach(source)
        sink.write(b"a")

    server = Server(*asked(b""))
    call = asyncio.create_task(server.call(handler))
    while not server.body:
        await asyncio.sleep(0)
    if busy:
        server.taking.clear()
        sinks[0].write(b"b")
        await asyncio.sleep(0)
    sinks[0].abort()
    await call
    assert server.body == b"a"
    assert server.sent[-1]["more_body"], "the server sees that it is not whole, and closes"
    assert source.heard == []


async def test_a_source_that_attaches_late_is_held_back_as_well() -> None:
    source, sink = Source(), AsgiSink()
    sink.start(200, HEADERS)
    sink.write(b"x" * (HIGH_WATER + 1))
    sink.attach(source)
    assert source.heard == ["pause"]


async def test_a_client_that_leaves_is_notified_once() -> None:
    source = Source()

    def handler(_: Inbound, sink: Sink) -> None:
        sink.attach(source)

    server = Server(*asked(b""))
    call = asyncio.create_task(server.call(handler))
    await asyncio.sleep(0)
    server.left.set()
    await call
    assert source.heard == ["gone"]
    assert server.sent == []


async def test_a_source_that_attaches_after_the_client_has_left_is_notified_at_once() -> None:
    source, sink = Source(), AsgiSink()
    sink.left()
    sink.attach(source)
    assert source.heard == ["gone"]


async def test_no_one_is_notified_after_the_end() -> None:
    source, sink = Source(), AsgiSink()
    sink.attach(source)
    sink.start(200, HEADERS)
    sink.end()
    sink.left()
    late = Source()
    sink.attach(late)
    assert source.heard == late.heard == []


async def test_a_client_that_leaves_while_it_sends_is_forgotten() -> None:
    def handler(_: Inbound, __: Sink) -> None:
        pytest.fail("there is no request")

    server = Server({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"})
    await server.call(handler)
    assert server.sent == []


async def test_a_body_that_is_too_large_is_not_read_on() -> None:
    def handler(_: Inbound, __: Sink) -> None:
        pytest.fail("the request is refused")

    server = Server(*asked(b"x" * 60, b"x" * 60, b"more"))
    await server.call(handler)
    assert server.sent[0]["status"] == 413
    assert server.messages, "the rest was not read"


async def test_no_task_is_left() -> None:
    def handler(_: Inbound, sink: Sink) -> None:
        sink.start(200, HEADERS)
        sink.end()

    await Server(*asked(b"")).call(handler)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
