"""A second host beside a slow one: the first token decides, the other is let go and paid for, the budget is kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, chunk, content, error, rows, says, stalls, until
from tests.support.gateway import Running
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, streams

GOOD = streams(chunks("Hello"))
BODY = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
SOON = {"after": "50ms", "max_share": "100%", "max_spend": "100%"}
STALLED = {str(number) for number in range(0, 30, 5)}
Hedged = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def hedged(routed: Routed) -> Hedged:
    """A gateway that hedges early; one answer of the first host has paid for that."""
    return partial(_hedged, routed)


@asynccontextmanager
async def _hedged(routed: Routed, *hosts: ScriptedHost, **policy: Any) -> AsyncIterator[Running]:
    async with routed(*hosts, **({"hedge": SOON} | policy)) as running:
        assert content((await running.chat(stream=True)).text) == "Hello"
        yield running


def answers_when(host: ScriptedHost, count: int, then: Script = GOOD) -> Script:
    """A script that waits until that host has had so many requests."""

    async def script(request: Received, out: Out) -> None:
        await host.until(lambda: len(host.requests) == count)
        await then(request, out)

    return script


def races(running: Running) -> list[tuple[str, str, str]]:
    """(endpoint, outcome, how the race went) of every row after the answer that paid."""
    return [(row.endpoint, row.outcome, row.hedge) for row in rows(running)[1:]]


async def test_the_second_host_wins_and_the_slow_one_is_let_go(hedged: Hedged) -> None:
    async with ScriptedHost([GOOD, stalls]) as slow, ScriptedHost(GOOD) as quick, hedged(slow, quick) as running:
        response = await running.chat(stream=True)
        assert content(response.text) == "Hello"
        assert response.headers["x-gateway-endpoint"] == "b/fp8"
        assert response.headers["x-gateway-attempts"] == "2"
        await slow.until(lambda: slow.gone == 1)
        assert races(running) == [("a/fp8", "cancelled", "beaten"), ("b/fp8", "ok", "won")]
        _, loser, winner = rows(running)
        assert (loser.last, loser.usage_source, loser.cost > 0, loser.client_status) == (False, "estimated", True, 0)
        assert (winner.last, winner.attempt, winner.client_status) == (True, 2, 200)
        assert await running.metric("gateway_hedges_total", result="won") == 1
        assert await running.metric("gateway_hedges_total") == 1


async def test_the_first_host_wins_after_all(hedged: Hedged) -> None:
    async with (
        ScriptedHost(stalls) as second,
        ScriptedHost([GOOD, answers_when(second, 1)]) as first,
        hedged(first, second) as running,
    ):
        response = await running.chat(stream=True)
        assert content(response.text) == "Hello"
        assert response.headers["x-gateway-endpoint"] == "a/fp8"
        await second.until(lambda: second.gone == 1)
        assert races(running) == [("b/fp8", "cancelled", "lost"), ("a/fp8", "ok", "")]
        assert [row.last for row in rows(running)[1:]] == [False, True]
        assert await running.metric("gateway_hedges_total", result="lost") == 1


async def test_time_that_two_hosts_were_waited_for_is_no_overhead(hedged: Hedged) -> None:
    async with ScriptedHost([GOOD, stalls]) as slow, ScriptedHost(GOOD) as quick, hedged(slow, quick) as running:
        await running.chat(stream=True)
        last = rows(running)[-1]
        assert 0 <= last.overhead < last.client_duration - 0.04


async def test_no_byte_of_the_loser_reaches_the_client(hedged: Hedged) -> None:
    """It had begun to answer, without a token of content."""

    async def begins(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(chunk({"role": "assistant", "content": ""}, name="slow"))
        await out.stall()

    async with ScriptedHost([GOOD, begins]) as slow, ScriptedHost(GOOD) as quick, hedged(slow, quick) as running:
        text = (await running.chat(stream=True)).text
        assert "slow" not in text
        assert content(text) == "Hello"


async def test_a_second_that_fails_leaves_the_first(hedged: Hedged) -> None:
    async def follows(request: Received, out: Out) -> None:
        await until(lambda: len(rows(running)) == 2)
        await GOOD(request, out)

    async with (
        ScriptedHost(answers(500, {})) as second,
        ScriptedHost([GOOD, follows]) as first,
        hedged(first, second) as running,
    ):
        assert content((await running.chat(stream=True)).text) == "Hello"
        assert races(running) == [("b/fp8", "server", "failed"), ("a/fp8", "ok", "")]


async def test_a_first_that_fails_leaves_the_second_and_no_third_is_tried(hedged: Hedged) -> None:
    third = ScriptedHost(GOOD)

    async def follows(request: Received, out: Out) -> None:
        await until(lambda: len(rows(running)) == 2)
        await GOOD(request, out)

    async with ScriptedHost(follows) as second, third:
        fails = answers_when(second, 1, answers(500, {}))
        async with ScriptedHost([GOOD, fails]) as first, hedged(first, second, third) as running:
            assert content((await running.chat(stream=True)).text) == "Hello"
            assert races(running) == [("a/fp8", "server", ""), ("b/fp8", "ok", "won")]
            assert not third.requests


async def test_both_fail_and_the_client_gets_both_errors(hedged: Hedged) -> None:
    async def follows(request: Received, out: Out) -> None:
        await until(lambda: len(rows(running)) == 2)
        await answers(500, {})(request, out)

    async with ScriptedHost(follows) as second:
        failing = answers_when(second, 1, answers(503, {}))
        async with ScriptedHost([GOOD, failing]) as first, hedged(first, second) as running:
            response = await running.chat(stream=True)
            assert response.status_code == 503
            told = error(response)
            assert "2 endpoints failed" in told["message"]
            assert [one["endpoint"] for one in told["metadata"]["attempts"]] == ["a/fp8", "b/fp8"]
            assert races(running) == [("a/fp8", "server", ""), ("b/fp8", "server", "failed")]
            assert await running.metric("gateway_hedges_total", result="failed") == 1


async def test_when_both_have_failed_the_next_is_tried(hedged: Hedged) -> None:
    async with ScriptedHost(answers(500, {})) as second, ScriptedHost(GOOD) as third:
        failing = answers_when(second, 1, answers(503, {}))
        async with ScriptedHost([GOOD, failing]) as first, hedged(first, second, third) as running:
            assert content((await running.chat(stream=True)).text) == "Hello"
            assert {row.endpoint: row.outcome for row in rows(running)[1:]} == {
                "a/fp8": "server",
                "b/fp8": "server",
                "c/fp8": "ok",
            }


async def test_the_client_leaves_while_both_are_tried(hedged: Hedged) -> None:
    async with ScriptedHost([GOOD, stalls]) as first, ScriptedHost(stalls) as second, hedged(first, second) as running:
        asked = asyncio.create_task(running.chat(stream=True))
        await second.until(lambda: len(second.requests) == 1)
        asked.cancel()
        await first.until(lambda: first.gone == 1)
        await second.until(lambda: second.gone == 1)
        await until(lambda: len(rows(running)) == 3)
        assert races(running) == [("a/fp8", "cancelled", ""), ("b/fp8", "cancelled", "cancelled")]
        assert [(row.last, row.client_status) for row in rows(running)[1:]] == [(False, 0), (True, 499)]
        assert await running.metric("gateway_hedges_total", result="cancelled") == 1


async def test_the_client_leaves_after_the_second_has_won(hedged: Hedged) -> None:
    second = ScriptedHost(says(ROLE, WORD, then="stall"))
    async with ScriptedHost([GOOD, stalls]) as first, second, hedged(first, second) as running:
        async with running.client.stream("POST", "/v1/chat/completions", json=BODY) as response:
            assert b"Hello" in await anext(response.aiter_raw())
        await second.until(lambda: second.gone == 1)
        await until(lambda: len(rows(running)) == 3)
        assert races(running) == [("a/fp8", "cancelled", "beaten"), ("b/fp8", "cancelled", "won")]


async def test_the_stream_is_kept_alive_while_both_are_tried(hedged: Hedged) -> None:
    go = asyncio.Event()

    async def script(_: Received, out: Out) -> None:
        await out.head(200)
        await go.wait()
        await out.send(ROLE + WORD + STOP + DONE)
        await out.end()

    async with (
        ScriptedHost([GOOD, stalls]) as first,
        ScriptedHost(script) as second,
        hedged(first, second, keepalive="100ms") as running,
    ):
        async with running.client.stream("POST", "/v1/chat/completions", json=BODY) as response:
            parts = response.aiter_raw()
            text = await anext(parts)
            assert text == b": keep-alive\n\n"
            await second.until(lambda: len(second.requests) == 1)
            go.set()
            text += b"".join([part async for part in parts])
        assert b": endpoint b/fp8, attempts 2\n\n" in text
        assert b"[DONE]" in text


async def test_many_races_at_once_do_not_mix(hedged: Hedged) -> None:
    """Whoever wins, each client gets its own words, once."""

    async def echoes(request: Received, out: Out) -> None:
        word = request.json()["messages"][0]["content"]
        await streams(chunks("Hello" if word == "Hi" else f"{word} {word}"))(request, out)

    async def often_stalls(request: Received, out: Out) -> None:
        await (stalls if request.json()["messages"][0]["content"] in STALLED else echoes)(request, out)

    async def ask(running: Running, number: int) -> None:
        response = await running.chat(str(number), stream=True)
        assert content(response.text) == f"{number} {number}"
        assert response.text.count('"finish_reason":"stop"') == 1

    async with (
        ScriptedHost(often_stalls) as first,
        ScriptedHost(echoes) as second,
        hedged(first, second, timeouts={"first_token": "1s"}) as running,
    ):
        await asyncio.gather(*(ask(running, number) for number in range(30)))
        assert sum(row.last for row in rows(running)) == 31
        assert "won" in {row.hedge for row in rows(running)}
