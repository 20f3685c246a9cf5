"""What is left of an attempt that failed: no connection to its host, which may go on sending, and billing."""

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.proxy import attempt
from gateway.types import Price, Row
from gateway.types.endpoint import Cancel
from gateway.upstream.transport import connection
from gateway.upstream.transport.address import Address
from tests.proxy.routed import stalls
from tests.proxy.world import GOOD, Make, World, Written
from tests.support.gateway import Gateway, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, streams


async def test_a_host_that_goes_on_after_an_error_in_its_stream_is_hung_up_on(gateway: Gateway, tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def errs_and_stays(_: Received, out: Out) -> None:
        await out.head(headers={"content-type": "text/event-stream"})
        await out.send(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n')
        await out.closed()
        hung_up.set()

    async with ScriptedHost(errs_and_stays) as bad, ScriptedHost(streams(chunks("Hello"))) as good:
        write_policy(tmp_path / "policies", "in-order", prefer={}, pick={"how": "best", "explore": "0%"})
        async with gateway({"a": bad.url, "b": good.url}, default_policy="in-order") as running:
            answer = await running.chat(stream=True)
            assert answer.headers["x-gateway-endpoint"] == "b"
            assert "Hello" in answer.text
            async with asyncio.timeout(60):
                await hung_up.wait()


# --- what is booked of an answer that was never seen ------------------------------------------------------------

PROMPT = 5  # tokens of the world's requests
UNKNOWN = 2  # a quarter of them, rounded up


def habits(world: World, cancel: Cancel) -> None:
    """All its hosts are like this when an answer is cancelled."""
    world.fleet.configure([replace(state.endpoint, cancel=cancel) for state in world.fleet.states.values()])


async def first_row(world: World, sink: Written) -> Row:
    async with asyncio.timeout(60):
        await sink.ended.wait()
    return world.rows()[0]


@pytest.mark.parametrize(("cancel", "tokens"), [("stops", 0), ("unknown", UNKNOWN), ("bills", PROMPT)])
async def test_an_answer_that_took_too_long_is_booked_as_hosts_of_that_habit_bill(
    make: Make, cancel: Cancel, tokens: int
) -> None:
    async with ScriptedHost(stalls) as slow, ScriptedHost(streams(chunks("Hello"))) as good:
        world = make(slow, good)
        habits(world, cancel)
        sink = world.send(stream=True)
        await slow.until(lambda: len(slow.requests) == 1)
        world.wheel.fire()
        late = await first_row(world, sink)
        assert late.outcome == "timeout_first_token"
        assert (late.prompt_tokens, late.cost > 0) == (tokens, tokens > 0)
        assert late.usage_source == ("estimated" if tokens else "none")
        assert (late.completion_tokens > 0) is (cancel == "bills")


@pytest.mark.parametrize(("cancel", "tokens"), [("stops", 0), ("unknown", UNKNOWN), ("bills", PROMPT)])
async def test_so_is_one_whose_client_left(make: Make, cancel: Cancel, tokens: int) -> None:
    async with ScriptedHost(stalls) as slow:
        world = make(slow)
        habits(world, cancel)
        sink = world.send(stream=True)
        await slow.until(lambda: len(slow.requests) == 1)
        assert sink.source is not None
        sink.source.gone()
        assert [(row.outcome, row.prompt_tokens) for row in world.rows()] == [("cancelled", tokens)]


async def test_a_whole_answer_streamed_by_its_host_is_booked_alike(make: Make) -> None:
    async with ScriptedHost(stalls) as slow, ScriptedHost(streams(chunks("Hello"))) as good:
        world = make(slow, good)
        sink = world.send()
        await slow.until(lambda: len(slow.requests) == 1)
        assert slow.requests[0].json()["stream"] is True
        world.wheel.fire()
        late = await first_row(world, sink)
        assert (late.outcome, late.prompt_tokens, late.completion_tokens) == ("timeout_first_token", UNKNOWN, 0)


async def test_of_a_prompt_that_the_host_was_sent_before_a_part_is_booked_as_cached(make: Make) -> None:
    prefix = ((7, 1_000),)
    async with ScriptedHost(stalls) as slow:
        world = make(slow)
        (state,) = world.fleet.states.values()
        world.fleet.configure([replace(state.endpoint, cancel="bills", price=Price(0.25, 0.5, cached_input=0.05))])
        world.fleet.prefixes.sent(prefix, "a", world.clock())
        sink = world.send(stream=True, prefix=prefix, prompt_tokens=1_000)
        await slow.until(lambda: len(slow.requests) == 1)
        assert sink.source is not None
        sink.source.gone()
        (row,) = world.rows()
        assert (row.usage_source, row.prompt_tokens) == ("estimated", 1_000)
        assert 0 < row.cached_tokens <= 1_000


async def test_a_host_that_has_not_had_the_request_is_not_paid_when_the_client_leaves(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes no connection, so the handshake never ends
        async with ScriptedHost(GOOD) as host:
            world = make(host)
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
            endpoint = replace(world.fleet.states["a"].endpoint, base_url=url, cancel="bills")
            world.fleet.configure([endpoint])
            world.destinations["a"] = Address(endpoint, None, world.transport)
            sink = world.send(stream=True)
            assert sink.source is not None
            sink.source.gone()
            assert [(row.outcome, row.usage_source, row.cost) for row in world.rows()] == [("cancelled", "none", 0)]


@pytest.mark.parametrize(("cancel", "tokens"), [("stops", UNKNOWN), ("unknown", UNKNOWN), ("bills", PROMPT)])
@pytest.mark.parametrize("death", ["cut", "reset"])
@pytest.mark.parametrize("kept", [True, False])
async def test_a_host_that_leaves_after_a_while_may_bill(
    make: Make, monkeypatch: pytest.MonkeyPatch, cancel: Cancel, tokens: int, death: str, kept: bool
) -> None:
    """Also on a connection that was kept: it is not asked again unseen."""
    monkeypatch.setattr(connection, "STALE_WINDOW", 0.0)
    monkeypatch.setattr(attempt, "STALE_WINDOW", 0.0)

    async def leaves(_: Received, out: Out) -> None:
        getattr(out, death)()

    told = streams(chunks("Hello"))
    async with ScriptedHost([told, leaves] if kept else [leaves]) as first, ScriptedHost(told) as second:
        world = make(first, second)
        habits(world, cancel)
        if kept:
            assert b"Hello" in (await world.ask(stream=True)).body
        assert b"Hello" in (await world.ask(stream=True)).body
        lost, answered = world.rows()[-2:]
        assert (lost.endpoint, lost.outcome, lost.usage_source, lost.prompt_tokens) == ("a", "cut", "estimated", tokens)
        assert lost.cost > 0
        assert (answered.endpoint, answered.attempt) == ("b", 2)


async def test_a_host_that_leaves_at_once_is_not_paid(make: Make) -> None:
    async def leaves(_: Received, out: Out) -> None:
        out.cut()

    async with ScriptedHost(leaves) as first, ScriptedHost(streams(chunks("Hello"))) as second:
        world = make(first, second)
        habits(world, "bills")
        await world.ask(stream=True)
        assert [(row.outcome, row.cost > 0) for row in world.rows()] == [("cut", False), ("ok", True)]


async def test_a_host_that_leaves_after_its_200_may_bill(make: Make) -> None:
    async def leaves(_: Received, out: Out) -> None:
        await out.head(200, {"content-type": "text/event-stream"})
        await out.send(b": wait\n\n")
        out.cut()

    async with ScriptedHost(leaves) as first, ScriptedHost(streams(chunks("Hello"))) as second:
        world = make(first, second)
        await world.ask(stream=True)
        lost = world.rows()[0]
        assert (lost.outcome, lost.usage_source, lost.prompt_tokens) == ("cut", "estimated", UNKNOWN)


async def test_an_error_is_not_paid_whatever_becomes_of_its_body(make: Make) -> None:
    async def errs(_: Received, out: Out) -> None:
        await out.head(500)
        await out.send(b"partly")
        out.cut()

    async with ScriptedHost(errs) as first, ScriptedHost(streams(chunks("Hello"))) as second:
        world = make(first, second)
        habits(world, "bills")
        await world.ask(stream=True)
        assert [(row.outcome, row.status, row.cost > 0) for row in world.rows()] == [
            ("server", 500, False),
            ("ok", 200, True),
        ]


async def test_a_host_that_was_never_reached_is_not_paid(make: Make) -> None:
    async with ScriptedHost(GOOD) as good:
        gone = ScriptedHost(GOOD)
        async with gone:
            pass
        world = make(gone, good)
        await world.ask()
        assert [(row.outcome, row.usage_source, row.cost > 0) for row in world.rows()] == [
            ("refused", "none", False),
            ("ok", "host", True),
        ]


@pytest.mark.parametrize(
    ("hosts", "said"), [(1, "a: HTTP 500 without a message"), (2, "2 endpoints failed, the last was b: HTTP 500")]
)
async def test_the_error_names_the_last_endpoint_and_how_many_there_were(make: Make, hosts: int, said: str) -> None:
    async with ScriptedHost(answers(500, {})) as host:
        sink = await make(*[host] * hosts).ask()
        assert json.loads(sink.body)["error"]["message"].startswith(said)
