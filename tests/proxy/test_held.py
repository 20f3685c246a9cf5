"""Answers that are held until they are whole: those that are not streamed, and those that a policy wants whole."""

import asyncio
from typing import Any

import pytest

from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, chunk, content, data, error, outcomes, rows, says, stalls
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

WHOLE = {"answer": "whole", "keepalive": "20ms"}
BROKEN = pytest.mark.parametrize(
    "bad",
    [
        says(ROLE, WORD, then="cut"),
        says(ROLE, WORD, then="reset"),
        says(ROLE, WORD, then="stall"),
        says(ROLE, WORD, b"data: {half\n\n", STOP, DONE),
        says(ROLE, WORD, data({"error": {"message": "overloaded"}})),
        says(ROLE, WORD, DONE),
        says(ROLE, WORD, chunk({}, "abort"), DONE),
        says(ROLE, chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}), then="stall"),
    ],
    ids=["cut", "reset", "stall", "garbage", "in band", "no end", "unclean", "stall in a call"],
)
STREAM = pytest.mark.parametrize("stream", [True, False])


@BROKEN
@STREAM
async def test_a_held_answer_that_breaks_is_retried(bad: Script, stream: bool, routed: Routed) -> None:
    clocks = {"gap": "200ms"}
    async with (
        ScriptedHost(bad) as first,
        ScriptedHost(streams(chunks("Hello there"))) as second,
        routed(first, second, timeouts=clocks, **WHOLE) as running,
    ):
        response = await running.chat(stream=stream)
        assert response.status_code == 200
        text = content(response.text) if stream else response.json()["choices"][0]["message"]["content"]
        assert text == "Hello there"
        assert [endpoint for endpoint, _ in outcomes(running)] == ["a/fp8", "b/fp8"]
        broken, whole = rows(running)
        assert broken.cost > 0, "what came of it is paid"
        assert (whole.last, whole.client_status) == (True, 200)


async def test_a_streamed_client_gets_comments_and_then_all_at_once(routed: Routed) -> None:
    go_on = asyncio.Event()

    async def slow(_: Received, out: Out) -> None:
        await out.head(headers={"content-type": "text/event-stream"})
        await out.send(ROLE + WORD)
        await go_on.wait()
        await out.send(WORD + STOP + DONE)
        await out.end()

    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with (
        ScriptedHost(slow) as host,
        routed(host, **WHOLE) as running,
        running.client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        parts = response.aiter_raw()
        assert await anext(parts) == b": keep-alive\n\n"
        go_on.set()
        rest = b"".join([part async for part in parts]).decode()
        assert content(rest) == "HelloHello"
        assert rest.rstrip().endswith("[DONE]")


async def test_a_client_that_leaves_while_its_answer_is_held(routed: Routed) -> None:
    async with ScriptedHost(says(ROLE, WORD, then="stall")) as host, routed(host, **WHOLE) as running:
        asked = asyncio.create_task(running.chat(stream=True))
        await host.until(lambda: len(host.requests) == 1)
        asked.cancel()
        await host.until(lambda: host.gone == 1)


async def test_what_is_held_is_bounded(routed: Routed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.proxy.attempt.LARGEST_ANSWER", 2_000)
    endless = says(ROLE, *[WORD] * 100, then="stall")
    async with ScriptedHost(endless) as host, routed(host, **WHOLE) as running:
        response = await running.chat(stream=True)
        assert "2000 bytes" in response.text
        assert outcomes(running) == [("a/fp8", "garbage")]


# --- whole answers upstream ---------------------------------------------------------------------------------------


def asked_to_stream(host: ScriptedHost) -> list[bool]:
    return [bool(request.json().get("stream")) for request in host.requests]


@pytest.mark.parametrize(
    ("asked", "streamed"), [({}, True), ({"max_tokens": 4_000}, True), ({"max_tokens": 50}, False)]
)
async def test_a_long_answer_is_requested_from_the_host_as_a_stream(asked: Any, streamed: bool, routed: Routed) -> None:
    async def either(request: Received, out: Out) -> None:
        good = streams(chunks("Hello")) if request.json().get("stream") else answers(200, completion("Hello"))
        await good(request, out)

    async with ScriptedHost(either) as host, routed(host) as running:
        response = await running.chat(**asked)
        assert response.json()["choices"][0]["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
        assert response.json()["object"] == "chat.completion"
        assert asked_to_stream(host) == [streamed]
        (row,) = rows(running)
        assert (row.stream, row.usage_source, row.ttft is not None) == (False, "host", streamed)


@pytest.mark.parametrize("asked", [{}, {"max_tokens": 4_000}, {"max_tokens": 5}])
async def test_a_silent_host_costs_no_more_than_its_clock(asked: Any, routed: Routed) -> None:
    clocks = {"first_token": "200ms", "first_token_per_10k": "0s"}
    async with (
        ScriptedHost(stalls) as silent,
        ScriptedHost(answers(200, completion("Hello"))) as good,
        routed(silent, good, timeouts=clocks, attempts={"within": "10s"}) as running,
    ):
        assert (await running.chat(**asked)).status_code == 200
        late, _ = rows(running)
        assert late.outcome == ("timeout_total" if asked.get("max_tokens") == 5 else "timeout_first_token")


async def test_attempts_within_binds_a_whole_answer(routed: Routed) -> None:
    async with ScriptedHost(stalls) as silent, routed(silent, attempts={"within": "200ms"}) as running:
        response = await running.chat()
        assert (response.status_code, error(response)["code"]) == (504, "timeout_first_token")


async def endless(_: Received, out: Out) -> None:
    await out.head(headers={"content-type": "text/event-stream"})
    while True:
        await out.send(WORD)
        await asyncio.sleep(0.01)


async def test_a_host_that_never_ends_is_stopped_by_the_total(routed: Routed) -> None:
    async with ScriptedHost(endless) as host, routed(host, timeouts={"total": "300ms"}) as running:
        response = await running.chat()
        assert (response.status_code, error(response)["code"]) == (504, "timeout_total")


async def test_a_streamed_answer_has_a_total_of_its_own(routed: Routed) -> None:
    async with ScriptedHost(endless) as host, routed(host, timeouts={"stream": "300ms", "gap": "10s"}) as running:
        assert '"timeout_total"' in (await running.chat(stream=True)).text
        assert outcomes(running) == [("a/fp8", "timeout_total")]
