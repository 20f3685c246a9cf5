"""The HTTP side of a simulated host over a transport that a test controls."""

import asyncio

import orjson
import pytest

from gateway.sim.machine import Machine
from gateway.sim.sim_connection import LARGEST_BODY, SimConnection
from tests.sim.world import STEADY


class Transport(asyncio.Transport):
    """Collects what is written; a full one asks its protocol to pause at `room` bytes."""

    def __init__(self, room: int = 1 << 30) -> None:
        super().__init__()
        self.written = bytearray()
        self.room = room
        self.closed = False
        self.protocol: SimConnection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        if len(self.written) >= self.room:
            self.room = 1 << 30
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def connect(transport: Transport, machine: Machine) -> SimConnection:
    connection = transport.protocol = SimConnection(machine, set())
    connection.connection_made(transport)
    return connection


def post(path: bytes = b"/v1/chat/completions", **more: object) -> bytes:
    body = orjson.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 400, **more})
    return b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (path, len(body), body)


async def test_a_slow_reader_pauses_the_answer_and_then_gets_all_of_it() -> None:
    machine, transport = Machine(STEADY, speed=0), Transport(room=5_000)
    connection = connect(transport, machine)
    connection.data_received(post(stream=True))
    assert len(transport.written) < 6_000
    assert machine.counters.completed == 0
    connection.resume_writing()
    assert transport.written.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert machine.counters.completed == 1


async def test_requests_follow_each_other_on_one_connection() -> None:
    machine, transport = Machine(STEADY, speed=0), Transport()
    connection = connect(transport, machine)
    for byte in post() + post():
        connection.data_received(bytes([byte]))
    assert transport.written.count(b"HTTP/1.1 200 OK") == 2
    assert machine.counters.completed == 2


async def test_a_second_request_before_the_first_answer_ends_the_connection() -> None:
    transport = Transport()
    connect(transport, Machine(STEADY)).data_received(post() + post())
    assert transport.closed


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", post() + b"nonsense\r\n\r\n"])
async def test_what_is_not_http_ends_the_connection(raw: bytes) -> None:
    transport = Transport()
    connect(transport, Machine(STEADY, speed=0)).data_received(raw)
    assert transport.closed


async def test_a_body_over_the_bound_ends_the_connection() -> None:
    transport = Transport()
    machine = Machine(STEADY, speed=0)
    head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (LARGEST_BODY + 1)
    connect(transport, machine).data_received(head + b"x" * (LARGEST_BODY + 1))
    assert transport.closed
    assert machine.counters.requests == 0


async def test_a_client_that_leaves_early_pays_for_what_was_sent() -> None:
    machine, transport = Machine(STEADY, speed=0), Transport(room=5_000)
    connection = connect(transport, machine)
    connection.data_received(post(stream=True))
    connection.connection_lost(None)
    count = machine.counters
    assert (count.cancelled, count.completed) == (1, 0)
    assert 0 < count.tokens < 400
    assert count.cost_pico_usd == count.prompt_tokens * 269_000 + count.tokens * 400_000
