"""What a worker has no room for is refused at once, counted, and taken again when there is room."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server import admission as module
from gateway.server.admission import FEWEST, MOST_KEYS, Admission, limits, memory_limit
from tests.support.client import CHAT, connected, question, request
from tests.support.gateway import Gateway, Running
from tests.support.host import Out, Received, ScriptedHost

GIB = 1 << 30


@pytest.fixture
def shed() -> list[str]:
    return []


def test_requests_are_bounded(shed: list[str]) -> None:
    load = Admission(2, 1_000, shed.append)
    assert [load.enter(b"", 10), load.enter(b"", 10), load.enter(b"", 10)] == [True, True, False]
    load.leave(b"", 10)
    assert load.enter(b"", 10)
    assert shed == ["requests"]


def test_bodies_are_bounded_and_one_is_always_taken(shed: list[str]) -> None:
    load = Admission(10, 1_000, shed.append)
    assert load.enter(b"", 5_000)
    assert load.enter(b"", 0), "what needs no room has some"
    assert not load.enter(b"", 1)
    load.leave(b"", 5_000)
    assert load.enter(b"", 600)
    assert not load.grow(b"", 500)
    assert load.grow(b"", 400)
    load.leave(b"", 1_000)
    load.leave(b"", 0)
    assert (load.requests, load.bytes) == (0, 0)
    assert shed == ["bodies", "bodies"]


FLOOD, FEW = b"flood", b"few"


@given(
    most=st.integers(20, 400),
    steps=st.lists(
        st.tuples(st.sampled_from([FLOOD, b"flood too", FEW]), st.booleans(), st.integers(0, 50)), max_size=300
    ),
)
def test_a_flood_of_two_keys_leaves_room_for_few_requests_of_another(
    most: int, steps: list[tuple[bytes, bool, int]]
) -> None:
    """In any order of arrivals and ends: up to a twentieth of all, in requests and in bytes, is never rejected."""
    load = Admission(most, most * 10, lambda _: None)
    held: dict[bytes, list[int]] = {FLOOD: [], b"flood too": [], FEW: []}
    for key, arrives, size in steps:
        mine = held[key]
        if not arrives:
            if mine:
                load.leave(key, mine.pop())
            continue
        is_small = key == FEW and len(mine) < most // 20 and sum(mine) + size <= most * 10 // 20
        if load.enter(key, size):
            mine.append(size)
        else:
            assert not is_small
        assert load.requests <= most
        assert load.bytes <= max(most * 10, size)
    for key, sizes in held.items():
        for size in sizes:
            load.leave(key, size)
    assert (load.requests, load.bytes) == (0, 0)


def test_one_key_holds_four_fifths_at_most(shed: list[str]) -> None:
    load = Admission(100, 1_000_000, shed.append)
    assert sum(load.enter(FLOOD, 0) for _ in range(200)) == 80
    assert set(shed) == {"key"}
    assert sum(load.enter(FEW, 0) for _ in range(200)) == 16
    assert load.enter(b"a third", 0)


def test_keys_without_requests_are_forgotten(shed: list[str]) -> None:
    """There are `MOST_KEYS` at most, and those with requests in flight."""
    load = Admission(10, 1_000, shed.append)
    assert load.enter(FEW, 5)
    for number in range(3 * MOST_KEYS):
        assert load.enter(b"%d" % number, 0)
        load.leave(b"%d" % number, 0)
        assert len(load._keys) <= MOST_KEYS
    load.leave(FEW, 5)
    assert (load.requests, load.bytes) == (0, 0)


def test_without_keys_all_of_it_may_be_used(shed: list[str]) -> None:
    load = Admission(100, 1_000_000, shed.append)
    assert sum(load.enter(b"", 0) for _ in range(200)) == 100
    assert set(shed) == {"requests"}


def test_a_key_alone_with_little_room_has_its_first_request(shed: list[str]) -> None:
    """And leaves the last place to another key."""
    load = Admission(2, 100, shed.append)
    assert load.enter(FLOOD, 80)
    assert not load.enter(FLOOD, 0)
    assert load.enter(FEW, 20)
    assert shed == ["key"]


@pytest.mark.parametrize(
    ("memory", "workers", "own", "expected"),
    [
        (8 * GIB, 1, None, (65_536, 4 * GIB // 6)),
        (8 * GIB, 4, None, (16_384, GIB // 6)),
        (8 * GIB, 4, 10, (10, GIB // 6)),
        (1 << 20, 1, None, (FEWEST, (1 << 19) // 6)),
    ],
)
def test_limits_come_from_the_memory(memory: int, workers: int, own: int | None, expected: tuple[int, int]) -> None:
    assert limits(memory, workers, own) == expected


@pytest.mark.parametrize(("text", "limit"), [("1048576\n", 1 << 20), ("max\n", None), ("", None), (None, None)])
def test_a_container_may_have_less_than_the_machine(
    text: str | None, limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.max"
    monkeypatch.setattr(module, "LIMITS", ())
    machine = memory_limit()
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(module, "LIMITS", (str(path),))
    assert memory_limit() == (limit or machine)
    assert machine > 1 << 26


def test_a_worker_without_time_takes_a_tenth_less_until_it_has_some(shed: list[str]) -> None:
    load = Admission(10_000, 1 << 30, shed.append)
    for _ in range(1_000):
        assert load.enter(b"", 0)
    load.slow_down()
    assert not load.enter(b"", 0)
    for _ in range(101):
        load.leave(b"", 0)
    assert load.enter(b"", 0)
    assert not load.enter(b"", 0)
    load.slow_down()
    assert not load.enter(b"", 0)
    looks = 0
    while load.slowed:
        load.speed_up()
        looks += 1
    assert load.enter(b"", 0)
    assert 50 < looks < 200, "it takes some seconds"
    assert set(shed) == {"lag"}


def test_a_worker_without_time_has_a_lowest_limit(shed: list[str]) -> None:
    load = Admission(10_000, 1 << 30, shed.append)
    for _ in range(100):
        load.slow_down()
    assert sum(load.enter(b"", 0) for _ in range(FEWEST + 5)) == FEWEST


def test_a_worker_without_time_takes_keys_with_few_requests(shed: list[str]) -> None:
    """Also where more is in flight than it may take: streams that go on are the flood's, and the few go on, too."""
    load = Admission(10_000, 1 << 30, shed.append)
    for _ in range(1_000):
        assert load.enter(FLOOD, 0)
    assert load.enter(FEW, 0)
    load.slow_down()
    assert not load.enter(FLOOD, 0)
    assert load.enter(FEW, 0)
    assert load.enter(b"new", 0)
    assert shed == ["lag"]


class Busy(ScriptedHost):
    """A host that answers when it is let."""

    def __init__(self) -> None:
        self.never = asyncio.Event()
        super().__init__(self.wait)

    async def wait(self, _: Received, out: Out) -> None:
        await self.never.wait()
        out.cut()


async def shed_by(running: Running, reason: str) -> float:
    return await running.metric("gateway_shed_total", reason=reason)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/v1/chat/completions"])
async def test_a_request_too_many_is_refused_at_once(path: str, gateway: Gateway) -> None:
    """Its body is announced and never sent."""
    async with (
        Busy() as host,
        gateway({"a/fp8": host.url}, max_in_flight=2) as running,
        connected(running) as one,
        connected(running) as two,
        connected(running) as three,
        connected(running) as four,
    ):
        await one.send(request(question()))
        await two.send(request(question(stream=True)))
        await host.until(lambda: len(host.requests) == 2)
        await three.send(CHAT.replace(b"/v1/chat/completions", path.encode()) + b"content-length: 100\r\n\r\n")
        status, headers, body = await three.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert b'"error"' in body
        assert await shed_by(running, "requests") == 1
        one.writer.transport.abort()  # it makes room
        await host.until(lambda: host.gone >= 1)
        await four.send(request(question()))
        await host.until(lambda: len(host.requests) == 3)


@pytest.mark.parametrize("chunked", [True, False])
async def test_bodies_that_would_hold_too_much_are_refused(
    chunked: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.app.memory_limit", lambda: 12 * 100_000)  # 100,000 bytes of bodies
    large = question(messages=[{"role": "user", "content": "x" * 60_000}])
    async with (
        Busy() as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as one,
        connected(running) as two,
    ):
        await one.send(request(large))
        await host.until(lambda: len(host.requests) == 1)
        if chunked:
            await two.send(CHAT + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(large) + large)
        else:
            await two.send(CHAT + b"content-length: %d\r\n\r\n" % len(large))
        assert (await two.answer())[0] == 503
        assert await shed_by(running, "bodies") == 1


async def test_what_was_refused_and_what_has_left_takes_no_room(gateway: Gateway) -> None:
    """By any way out: a refusal, a wrong path, a client that leaves in the middle of its body or behind its request."""
    async with Busy() as host, gateway({"a/fp8": host.url}, max_in_flight=2, max_body="1KiB") as running:
        for sent in (
            request(b"{"),
            CHAT + b"content-length: 9999\r\n\r\n",
            request(question())[:-5],
            CHAT + b"transfer-encoding: chunked\r\n\r\n5\r\nabc",
            CHAT + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\nab",
            CHAT + b"transfer-encoding: chunked\r\n\r\n5000\r\n" + b"x" * 0x5000,
            CHAT + b"content-length: 5\r\n\r\n\x00HTTP",
        ):
            for _ in range(3):
                async with connected(running) as connection:
                    await connection.send(sent)
        host.never.set()
        async with asyncio.timeout(60):
            while (await running.chat()).status_code == 503:
                pass
        async with asyncio.timeout(60):
            assert (await running.chat()).status_code == 502
        assert await shed_by(running, "requests") < 10


async def test_a_flood_of_one_key_does_not_shed_another_keys_request(gateway: Gateway) -> None:
    """The flood holds its share with requests that never end; what is above it gets a 503, the other key an answer."""
    environ = {"GATEWAY_API_KEYS": "flood:sk-flood,few:sk-few"}

    def asking(secret: bytes) -> bytes:
        return request(question(), b"authorization: Bearer " + secret)

    async with (
        Busy() as host,
        gateway({"a/fp8": host.url}, max_in_flight=10, environ=environ) as running,
        AsyncExitStack() as stack,
    ):
        flood = [await stack.enter_async_context(connected(running)) for _ in range(12)]
        for one in flood:
            await one.send(asking(b"sk-flood"))
        await host.until(lambda: len(host.requests) == 8)
        statuses = [(await one.answer())[0] for one in flood[8:]]
        assert statuses == [503] * 4
        few = await stack.enter_async_context(connected(running))
        await few.send(asking(b"sk-few"))
        await host.until(lambda: len(host.requests) == 9)
        assert await shed_by(running, "key") == 4
