"""Where every host is full, a request is shed before its body is read, if it would be shed all the same."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.route.fleet import Fleet
from gateway.server.worker_server import WORKER
from tests.server.test_admission import Busy, shed_by
from tests.support.client import Connection, connected, question, request
from tests.support.gateway import Gateway, Running, write_policy

KEYS = {"GATEWAY_API_KEYS": "flood:sk-flood,few:sk-few"}
FLOOD, FEW = b"authorization: Bearer sk-flood", b"authorization: Bearer sk-few"
ROUTED = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions", "/api/v1/chat/completions"]


@pytest.fixture(autouse=True)
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests wait for a minute, and the queue never stands."""
    write_policy(tmp_path / "policies", "balanced", attempts={"queue": "60s"})
    monkeypatch.setattr("gateway.route.slot_queue.STANDING", 3_600.0)


def fleet_of(running: Running) -> Fleet:
    assert running.server is not None
    fleet: Fleet = running.server.lifespan.state[WORKER].configured.fleets["deepseek/deepseek-v3.2"]
    return fleet


@asynccontextmanager
async def full(gateway: Gateway, **settings: Any) -> AsyncIterator[tuple[Running, Busy]]:
    """One request is with the only host, and as many of one key wait as may."""
    settings |= {"endpoint": {"limits": {"concurrency": 1}}, "environ": KEYS}
    async with Busy() as host, gateway({"a/fp8": host.url}, **settings) as running, AsyncExitStack() as stack:
        slots, sent = fleet_of(running).slots, 0
        while not slots.turns_away("flood", 0.0):
            one = await stack.enter_async_context(connected(running))
            await one.send(request(question(), FLOOD))
            sent += 1
            await host.until(lambda: len(host.requests) + slots.size == sent)  # noqa: B023
        yield running, host
        host.never.set()


def announced(path: str, *lines: bytes) -> bytes:
    """A request whose body does not come."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n".encode()
    return b"\r\n".join((head + lines[0], *lines[1:], b"content-length: 15900000", b"", b""))


async def shed(connection: Connection) -> dict[str, str]:
    """The headers of a 503 because of full hosts."""
    status, headers, body = await connection.answer()
    assert (status, headers["retry-after"]) == (503, "1")
    assert b"every endpoint is at its limit" in body
    return headers


async def test_its_body_is_not_waited_for(gateway: Gateway) -> None:
    async with full(gateway) as (running, _):
        bodies = []
        for path in ROUTED:
            async with connected(running) as connection:
                await connection.send(announced(path, FLOOD))
                status, headers, body = await connection.answer()
                assert (status, headers["retry-after"]) == (503, "1")
                bodies.append(body)
        assert [b'"type":"error"' in body for body in bodies] == [path == "/v1/messages" for path in ROUTED]
        assert await shed_by(running, "queue") == len(ROUTED)


async def test_a_client_gets_no_continue_and_may_go_on(gateway: Gateway) -> None:
    async with full(gateway) as (running, _), connected(running) as connection:
        await connection.send(announced("/v1/chat/completions", FLOOD, b"expect: 100-continue"))
        await shed(connection)
    async with full(gateway) as (running, _), connected(running) as connection:
        for _ in range(3):
            await connection.send(request(question(), FLOOD))
            assert "x-generation-id" not in await shed(connection)


async def test_another_key_waits_for_its_turn(gateway: Gateway) -> None:
    async with full(gateway) as (running, host), connected(running) as connection:
        slots = fleet_of(running).slots
        await connection.send(request(question(), FEW))
        await host.until(lambda: slots.shed == 1)
        assert "of 2 tenants" in repr(slots), "it waits, in place of one of the flood"


@pytest.mark.parametrize("line", [b"x-gateway-cache: on", b"x-openrouter-cache: true"])
async def test_what_the_cache_may_answer_is_read(line: bytes, gateway: Gateway) -> None:
    """It is shed after that; the id says that it was read."""
    async with full(gateway) as (running, _), connected(running) as connection:
        await connection.send(request(question(), FLOOD, line))
        assert "x-generation-id" in await shed(connection)


async def test_where_a_policy_caches_requests_are_read(gateway: Gateway) -> None:
    async with full(gateway) as (running, _), connected(running) as connection:
        await connection.send(request(question(), FEW, b"x-gateway-policy: cached"))
        async with connected(running) as other:
            await other.send(request(question(model="deepseek-v3.2:cached"), FLOOD))
            assert "x-generation-id" in await shed(other)


async def test_what_needs_no_host_is_answered(gateway: Gateway) -> None:
    async with full(gateway) as (running, _), connected(running) as connection:
        for path in ("/v1/explain", "/v1/messages/count_tokens"):
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n".encode()
            await connection.send(request(question(max_tokens=5), FLOOD, head=head))
            assert (await connection.answer())[0] == 200


async def test_a_policy_without_a_queue_may_send_to_a_full_host(gateway: Gateway, tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", "hasty", attempts={"queue": "0s"})
    async with full(gateway) as (running, host), connected(running) as connection:
        await connection.send(request(question(model="deepseek-v3.2:hasty"), FLOOD))
        await host.until(lambda: len(host.requests) == 2)
